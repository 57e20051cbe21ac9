"""Errors that this project raises, in a tree ordered by how a caller can react.

::

    StravaPipelineError
    ├─ ConfigurationError                 the operator must change a setting; never retried
    │  └─ TokenUnreadable                 the configured keys do not decrypt a stored token
    ├─ StravaError
    │  ├─ RetriableStravaError            try again: 5xx, timeout, an answer that is not Strava's
    │  │  ├─ QuotaExhausted(retry_at)     our quota is used up, or a 429: wait until ``retry_at``; not a failure
    │  │  ├─ StravaAway(since, retry_at)  Strava answers nobody: wait until ``retry_at``; not a failure
    │  │  │  └─ RestoreUnchecked          the tables come from a backup: nobody may ask Strava yet
    │  │  ├─ GrantChanged                 the athlete connected again while Strava was asked: ask anew
    │  │  ├─ NotAnswered                  Strava does not answer this call, but others
    │  │  └─ RefreshDelayed(retry_at)     a token was not refreshed, and is not before ``retry_at``
    │  ├─ AthleteError                    one athlete only; all others go on
    │  │  ├─ NeedsReauthorization         the grant has ended; the athlete must connect again
    │  │  └─ MissingScope                 the athlete did not grant a permission
    │  ├─ AppInactive(retry_at)           Strava switched off the whole app
    │  ├─ ClientRefused                   Strava refuses the app's own credentials
    │  ├─ NotFound                        the object is deleted, private, or not there yet
    │  └─ RejectedRequest                 any other 4xx, or a value of a wrong form: never retried
    ├─ MailError                          a mail was not sent
    │  ├─ MailRefused                     the mail server refused it for good; never retried
    │  └─ MailDelayed                     try again later
    ├─ UnreadableFile                     a file that was handed in cannot be read; never retried
    ├─ WebhookRejected(reason, status)    a delivery was refused
    └─ WarehouseError                     the database is missing tables or refused a write
       ├─ DatabaseUnavailable             the database cannot be reached, or accepts no writes; try again
       │  └─ DatabaseTooSlow              it did not finish one piece of work in time
       ├─ FencedOut                       a newer claim has this work; nothing was written
       ├─ ImportStopped                   an import is paused, or another run has it: work on it ends
       ├─ WorkTaken                       another run is at the same work, and is not waited for
       ├─ AlreadyImported(import_id)      the same archive was imported before; nothing was changed
       ├─ ArchiveImportRunning(import_id) another archive import of this athlete is at work
       ├─ UnknownArchiveImport            no archive import has this number
       ├─ ActivityOfAnother               an archive holds an activity that is stored for another athlete
       ├─ InviteAlreadyUsed               a disconnected athlete used an old invitation again
       ├─ ErasureUnderWay                 the data of an athlete who is back are still being deleted
       ├─ UnknownAthlete                  no athlete with this id has connected
       └─ UnknownActivity                 no activity with this id is stored
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from strava_pipeline.printable import printable
from strava_pipeline.redaction import redact


class StravaPipelineError(Exception):
    """Root of all errors of this project. ``str(error)`` is one printable line, even if it quotes other programs.

    Secrets in its texts are redacted when the error is created, while the secrets are still known.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigurationError(StravaPipelineError):
    """A setting is missing or wrong; the message names the setting."""


class TokenUnreadable(ConfigurationError):
    """A stored token cannot be decrypted with the configured keys."""


@dataclass(frozen=True)
class FaultDetail:
    """One error of a fault body: a ``field`` of a ``resource``, and the ``code`` of the fault.

    Source: https://developers.strava.com/docs/reference/#api-models-Error
    """

    resource: str = ""
    field: str = ""
    code: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.resource, self.field, self.code) if part)


@dataclass(frozen=True)
class StravaFault:
    """Strava's fault body: its ``message``, and all its ``errors`` in Strava's order; empty if there is none.

    Source: https://developers.strava.com/docs/reference/#api-models-Fault
    """

    message: str = ""
    errors: tuple[FaultDetail, ...] = ()

    @property
    def is_stravas(self) -> bool:
        """Whether Strava sent this fault: each of its faults has a message."""
        return bool(self.message)

    def __str__(self) -> str:
        if not self.errors:
            return self.message or "no fault body"
        return f"{self.message or 'no message'} ({'; '.join(map(str, self.errors))})"


class StravaError(StravaPipelineError):
    """A request to Strava failed.

    ``status`` is the HTTP status, or ``None`` when there was no answer; ``fault`` its body, if that is Strava's.
    """

    def __init__(self, message: str, *, status: int | None = None, fault: StravaFault | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fault = fault or StravaFault()


class RetriableStravaError(StravaError):
    """A temporary fault.

    ``answered`` is False if Strava was asked and did not answer: 5xx, a timeout, a broken connection, or an answer
    that is not Strava's.
    """

    def __init__(
        self, message: str, *, status: int | None = None, fault: StravaFault | None = None, answered: bool = True
    ) -> None:
        super().__init__(message, status=status, fault=fault)
        self.answered = answered


class QuotaExhausted(RetriableStravaError):
    """The quota is used up: send no request before ``retry_at`` (UTC). This is a wait, not a failure."""

    def __init__(
        self, message: str, *, retry_at: datetime, status: int | None = None, fault: StravaFault | None = None
    ) -> None:
        super().__init__(message, status=status, fault=fault)
        self.retry_at = retry_at


class GrantChanged(RetriableStravaError):
    """The athlete connected again, or left, while Strava was asked: its answer is to the grant of then."""


class StravaAway(RetriableStravaError):
    """Strava answers nobody since ``since`` (UTC): send no request before ``retry_at`` (UTC).

    This is a wait, not a failure. Both are ``None`` if neither this call nor another one got an answer, but it is too
    early to tell that all others get none either. ``refreshes_only``: OAuth is away, which concerns nobody whose token
    is still good.
    """

    def __init__(
        self,
        message: str,
        *,
        since: datetime | None,
        retry_at: datetime | None,
        status: int | None = None,
        refreshes_only: bool = False,
    ) -> None:
        super().__init__(message, status=status, answered=False)
        self.since = since
        self.retry_at = retry_at
        self.refreshes_only = refreshes_only


class RestoreUnchecked(StravaAway):
    """The tables come from a backup, and were not compared with Strava yet: nobody asks Strava anything."""


class NotAnswered(RetriableStravaError):
    """Strava does not answer this call, however often it is sent, but it answers others."""


class RefreshDelayed(RetriableStravaError):
    """An athlete's token could not be refreshed, and is not refreshed before ``retry_at`` (UTC)."""

    def __init__(self, message: str, *, retry_at: datetime) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class AthleteError(StravaError):
    """An error that concerns one athlete only; work for all others goes on."""


class NeedsReauthorization(AthleteError):
    """The athlete's grant has ended; the athlete must connect again."""


class MissingScope(AthleteError):
    """The athlete did not grant a permission that this call needs."""


class AppInactive(StravaError):
    """Strava switched off the whole app (403 Application/Status/Inactive).

    ``retry_at`` (UTC): when the next call may try whether it is on again; ``None`` for the answer that says it is off.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        fault: StravaFault | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(message, status=status, fault=fault)
        self.retry_at = retry_at


class ClientRefused(StravaError):
    """Strava refuses a call that the app makes in its own name: its credentials or addresses are wrong."""


class NotFound(StravaError):
    """The object is deleted, private, or not there yet."""


class RejectedRequest(StravaError):
    """Strava refused a request, or something in a request or an answer has a wrong form: a retry changes nothing."""


class MailError(StravaPipelineError):
    """A mail was not sent; the message is the mail server's reason, without the address."""


class MailRefused(MailError):
    """The mail server refused this mail or this address for good."""


class MailDelayed(MailError):
    """The mail server cannot be reached, is not ready, or is set up wrongly."""


class UnreadableFile(StravaPipelineError):
    """A file that was handed in is not what it should be, or is more than is read; the message says what is wrong."""


class WebhookRejected(StravaPipelineError):
    """A webhook delivery was refused; ``reason`` is a stable code, ``status`` the HTTP status of the answer."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class WarehouseError(StravaPipelineError):
    """The database cannot be reached, is not migrated, or refused a write."""


class DatabaseUnavailable(WarehouseError):
    """The database cannot be reached, the connection broke, or the server refuses whatever is sent to it."""


class DatabaseTooSlow(DatabaseUnavailable):
    """The database answers, but did not finish a piece of work in time: a lock, a time limit, or too much at once."""


class FencedOut(WarehouseError):
    """A newer claim has this work; nothing was written."""


class ImportStopped(WarehouseError):
    """An import is paused, has a newer launch, or its athlete is not connected: its run ends."""


class WorkTaken(WarehouseError):
    """Another run is at the same work, and this one does not wait for its end."""


class AlreadyImported(WarehouseError):
    """The same archive or files were imported before, by the archive import ``import_id``; nothing was changed."""

    def __init__(self, message: str, import_id: int) -> None:
        super().__init__(message)
        self.import_id = import_id


class ArchiveImportRunning(WarehouseError):
    """The archive import ``import_id`` of the same athlete is at work; nothing was changed, try again later."""

    def __init__(self, message: str, import_id: int) -> None:
        super().__init__(message)
        self.import_id = import_id


class ActivityOfAnother(WarehouseError):
    """An archive holds an activity that is stored for another athlete: nothing of the archive may be stored."""


class UnknownArchiveImport(WarehouseError):
    """No archive import has this number."""


class InviteAlreadyUsed(WarehouseError):
    """A disconnected athlete used their old invitation again; nothing was written, they need a new invitation."""


class ErasureUnderWay(WarehouseError):
    """The earlier data of an athlete who connects again are still being deleted; nothing was written, try again."""


class UnknownAthlete(WarehouseError):
    """No athlete with this id has connected."""


class UnknownActivity(WarehouseError):
    """No activity with this id is stored."""


# After these errors of one month the next would fail as well: they are about Strava as a whole, the app, the athlete,
# the quota, the settings, the database, or the import. After any other error of a month the next one is worked on.
NOT_ABOUT_ONE_MONTH: Final = (
    ConfigurationError,
    RetriableStravaError,
    AthleteError,
    AppInactive,
    ClientRefused,
    DatabaseUnavailable,
    ImportStopped,
)
