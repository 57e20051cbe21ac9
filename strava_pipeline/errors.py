"""Every error this project raises on purpose, split by what the caller may do about it.

::

    StravaPipelineError
    ├─ ConfigurationError                 fix the settings; never retried
    │  └─ TokenUnreadable                 a stored token and the configured keys do not fit
    ├─ StravaError
    │  ├─ RetriableStravaError            try again: 5xx, timeouts, cut or unreadable answers
    │  │  └─ QuotaExhausted(retry_at)     ours or a 429: wait until then; not a failure
    │  ├─ AthleteError                    this athlete only
    │  │  ├─ NeedsReauthorization         the grant is gone; the athlete must connect again
    │  │  └─ MissingScope                 a permission was not granted
    │  ├─ AppInactive                     the whole app is switched off at Strava
    │  ├─ NotFound                        gone, private, or not there yet
    │  └─ RejectedRequest                 any other 4xx: never retried
    ├─ MailError                          a mail was not sent
    │  ├─ MailRefused                     and never will be
    │  └─ MailDelayed                     trying again may help
    ├─ WebhookRejected(reason, status)    a delivery that is not taken
    └─ WarehouseError                     database away, migration missing, fenced out
       ├─ DatabaseAway                    no connection or no answer now; trying again may help
       ├─ FencedOut                       someone else has this work by now; nothing was written
       ├─ HasLeft                         who was disconnected comes back by an invitation they had used
       ├─ UnknownAthlete                  nobody with this id has connected
       └─ UnknownActivity                 no activity with this id is stored
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from strava_pipeline.printable import printable
from strava_pipeline.redaction import redact


class StravaPipelineError(Exception):
    """Root of all errors raised here. ``str(error)`` is one line for a person, printable whoever is quoted in it.

    No secret stands in an error, whoever prints it: texts are redacted when it is made, while their secrets live.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigurationError(StravaPipelineError):
    """A setting is missing or wrong; the message names it."""


class TokenUnreadable(ConfigurationError):
    """A stored token cannot be decrypted with the configured keys."""


@dataclass(frozen=True)
class FaultDetail:
    """One of the errors in a fault body: the ``field`` of the ``resource``, and the ``code`` of its fault.

    Source: https://developers.strava.com/docs/reference/#api-models-Error
    """

    resource: str = ""
    field: str = ""
    code: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.resource, self.field, self.code) if part)


@dataclass(frozen=True)
class Fault:
    """Strava's fault body: ``message``, and all of its ``errors`` in Strava's order.

    Source: https://developers.strava.com/docs/reference/#api-models-Fault
    """

    message: str = ""
    errors: tuple[FaultDetail, ...] = ()

    def __str__(self) -> str:
        if not self.errors:
            return self.message or "no fault body"
        return f"{self.message or 'no message'} ({'; '.join(map(str, self.errors))})"


class StravaError(StravaPipelineError):
    """Strava did not give what was asked for.

    ``status`` is the HTTP status, or ``None`` when there was no answer; ``fault`` its parsed body.
    """

    def __init__(self, message: str, *, status: int | None = None, fault: Fault | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fault = fault or Fault()


class RetriableStravaError(StravaError):
    """A fault that may pass: 5xx, a timeout, a broken connection, an unreadable answer."""


class QuotaExhausted(RetriableStravaError):
    """No request may be sent before ``retry_at`` (UTC). Waiting, not a failure."""

    def __init__(
        self, message: str, *, retry_at: datetime, status: int | None = None, fault: Fault | None = None
    ) -> None:
        super().__init__(message, status=status, fault=fault)
        self.retry_at = retry_at


class AthleteError(StravaError):
    """Concerns one athlete; all others go on."""


class NeedsReauthorization(AthleteError):
    """The athlete's grant is dead; only connecting again helps."""


class MissingScope(AthleteError):
    """The athlete did not grant a permission this call needs."""


class AppInactive(StravaError):
    """Strava switched the whole application off (403 Application/Status/Inactive)."""


class NotFound(StravaError):
    """The object is gone, private, or not there yet."""


class RejectedRequest(StravaError):
    """Strava refuses this request as such: sending it again changes nothing."""


class MailError(StravaPipelineError):
    """A mail was not sent; the message is the server's reason, without the address."""


class MailRefused(MailError):
    """The mail server refuses this mail, or this address, for good."""


class MailDelayed(MailError):
    """The mail server is away, not ready, or set up wrongly."""


class WebhookRejected(StravaPipelineError):
    """A delivery that is not taken; ``reason`` is a stable code, ``status`` the HTTP status to answer."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class WarehouseError(StravaPipelineError):
    """The database is away, not migrated, or refuses a write that came too late."""


class DatabaseAway(WarehouseError):
    """The database cannot be reached, the connection broke, or it did not answer in time."""


class FencedOut(WarehouseError):
    """Whoever writes has been overtaken: a newer claim has this work, and nothing was written."""


class HasLeft(WarehouseError):
    """Somebody who was disconnected comes back by the invitation that they had used; nothing was written."""


class UnknownAthlete(WarehouseError):
    """Nobody with this id has connected."""


class UnknownActivity(WarehouseError):
    """No activity with this id is stored."""
