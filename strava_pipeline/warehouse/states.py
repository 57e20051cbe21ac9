"""The states and reasons that rows carry, each written once: the tables' checks are made from them."""

from __future__ import annotations

from enum import StrEnum


class GrantState(StrEnum):
    """Whether an athlete's tokens work, as far as we know."""

    ACTIVE = "active"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"


class DagsterTask(StrEnum):
    """What Dagster has yet to be told of an athlete.

    IMPORT: add the partition and import the history. REMOVAL: the partition, the files in the lake and the runs go.
    DEPARTURE: the partition alone goes.
    """

    IMPORT = "import"
    REMOVAL = "removal"
    DEPARTURE = "departure"


class EventState(StrEnum):
    """The course of an event in the inbox; see :mod:`strava_pipeline.warehouse.inbox.events`."""

    RECEIVED = "received"
    LAUNCHED = "launched"
    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"
    PARKED = "parked"
    DISCARDED = "discarded"


# An event in one of these has yet to take effect, and nobody has to do anything for that.
OPEN_STATES = (EventState.RECEIVED, EventState.LAUNCHED, EventState.WAITING)
# The events that a claim on their object takes along.
UNCLAIMED_STATES = (EventState.RECEIVED, EventState.WAITING)


class WaitingFor(StrEnum):
    """The reason why an event waits."""

    DAGSTER = "dagster"
    ACTIVITY = "activity"
    STREAMS = "streams"
    QUOTA = "quota"
    APP = "app"
    STRAVA = "strava"
    DATABASE = "database"
    REPLAY = "replay"


class EventSource(StrEnum):
    """Who told of an event: a delivery of Strava's, or a comparison with a listing."""

    WEBHOOK = "webhook"
    RECONCILE = "reconcile"


class ErrorClass(StrEnum):
    """Whether the error of a dead letter may pass."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


class MailKind(StrEnum):
    """The subject of a mail: a new activity, or whether an address may get such mails."""

    RIDE_SUMMARY = "ride_summary"
    CONFIRMATION = "confirmation"


class MailState(StrEnum):
    """The course of a mail; see :mod:`strava_pipeline.warehouse.mail.mail_queue`."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


class SignIn(StrEnum):
    """What lets a browser in as the operator: an open session, or a link that opens one."""

    SESSION = "session"
    LINK = "link"


class PayloadKind(StrEnum):
    """The two answers of Strava about an activity that are kept."""

    SUMMARY = "summary"
    DETAIL = "detail"


class ImportStep(StrEnum):
    """The steps of an import; an activity that one of them cannot store is put aside with its name."""

    SUMMARY = "summary"
    DETAIL = "detail"
    STREAMS = "streams"
