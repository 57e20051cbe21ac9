"""The states and reasons that rows have. The tables' check constraints are made from these enums."""

from __future__ import annotations

from enum import StrEnum


class GrantState(StrEnum):
    """Whether an athlete's tokens work, as far as we know.

    ARCHIVE_ONLY: there never were any; what is stored was handed in.
    """

    ACTIVE = "active"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"
    ARCHIVE_ONLY = "archive_only"


# Strava has no grant of these athletes: no delivery is theirs, no request is sent for them, and no token is stored.
WITHOUT_GRANT = (GrantState.REVOKED, GrantState.ARCHIVE_ONLY)
# What is stored of these athletes is kept up to date.
KEPT_UP = (GrantState.ACTIVE, GrantState.ARCHIVE_ONLY)


class DagsterTask(StrEnum):
    """A task that Dagster has yet to do for an athlete.

    REGISTER: add the partition. ERASE: delete the partition, the files in the lake and the runs. UNREGISTER: delete
    only the partition.
    """

    REGISTER = "register"
    ERASE = "erase"
    UNREGISTER = "unregister"


class EventState(StrEnum):
    """The course of an event in the inbox; see :mod:`strava_pipeline.warehouse.inbox.events`."""

    RECEIVED = "received"
    LAUNCHED = "launched"
    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"
    PARKED = "parked"
    DISCARDED = "discarded"


# An event in one of these states will take effect without anybody's help.
OPEN_STATES = (EventState.RECEIVED, EventState.LAUNCHED, EventState.WAITING)
# Nothing more happens to an event in one of these states.
ENDED_STATES = (EventState.DONE, EventState.DISCARDED)
# A claim on an object takes its events in these states.
UNCLAIMED_STATES = (EventState.RECEIVED, EventState.WAITING)


class WaitingFor(StrEnum):
    """The reason why an event waits."""

    DAGSTER = "dagster"
    ACTIVITY = "activity"
    STREAMS = "streams"
    QUOTA = "quota"
    APP = "app"
    OUTAGE = "outage"
    STRAVA = "strava"
    DATABASE = "database"
    REPLAY = "replay"


class EventSource(StrEnum):
    """The source of an event: a delivery from Strava, or a comparison of a listing with the tables."""

    WEBHOOK = "webhook"
    RECONCILE = "reconcile"


class ErrorClass(StrEnum):
    """Whether the error of a dead letter may pass."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


class MailKind(StrEnum):
    """The kind of a mail.

    It is about a new activity, asks for confirmation of an address, or to connect again, or tells that an archive has
    been imported.
    """

    RIDE_SUMMARY = "ride_summary"
    CONFIRMATION = "confirmation"
    RECONNECT = "reconnect"
    HISTORY = "history"


class MailState(StrEnum):
    """The course of a mail; see :mod:`strava_pipeline.warehouse.mail.mail_queue`."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


# Nothing more happens to a mail in one of these states.
ENDED_MAIL_STATES = (MailState.SENT, MailState.FAILED, MailState.SKIPPED)


class SignIn(StrEnum):
    """The means by which a browser is logged in as the operator: an open session, or a link that opens one."""

    SESSION = "session"
    LINK = "link"


class PayloadKind(StrEnum):
    """The two answers of Strava about an activity that are stored as payloads."""

    SUMMARY = "summary"
    DETAIL = "detail"


class PutAside(StrEnum):
    """Why an activity is in quarantine: it cannot be stored, Strava does not answer for it, or shows it no more."""

    UNUSABLE = "unusable"
    UNANSWERED = "unanswered"
    HIDDEN = "hidden"


class ImportStep(StrEnum):
    """The steps of an import, in their order.

    An activity that one of the first three cannot store is put into quarantine with the step's name; a month for which
    a step fails is kept with it.
    """

    SUMMARY = "summary"
    DETAIL = "detail"
    STREAMS = "streams"
    FIGURES = "figures"
    LAKE = "lake"


class UpkeepKind(StrEnum):
    """What upkeep compares with Strava, or with the other tables.

    RECENT: a listing of the last days. HISTORY: a listing of all activities. PROFILE: profile, zones and totals.
    GEAR: one piece of gear. DETAILS: the details of activities, for what no listing tells. LOADS: everybody's training
    loads, with the figures that they are computed from.
    """

    RECENT = "recent"
    HISTORY = "history"
    PROFILE = "profile"
    GEAR = "gear"
    DETAILS = "details"
    LOADS = "loads"


# All steps whose results are in the tables.
HISTORY_STEPS = (ImportStep.SUMMARY, ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES)


class ImportState(StrEnum):
    """The course of an import; see :mod:`strava_pipeline.warehouse.imports.launches`."""

    DUE = "due"
    LAUNCHED = "launched"
    RUNNING = "running"


class ImportTask(StrEnum):
    """The work of one run of an import."""

    NEWEST_MONTH = "newest_month"
    LISTING = "listing"
    MONTHS = "months"
    PROFILE = "profile"


class MadeBy(StrEnum):
    """Who asked for an import.

    An athlete who connected in the browser, the operator on the page, somebody by a command, a run whose months failed
    in part, or upkeep.
    """

    CONNECT = "connect"
    OPERATOR = "operator"
    COMMAND = "command"
    RUN = "run"
    UPKEEP = "upkeep"


class PausedBy(StrEnum):
    """Who paused an import: the operator on the page, somebody by a command, or by canceling its run in Dagster."""

    OPERATOR = "operator"
    COMMAND = "command"
    CANCEL = "cancel"


class Severity(StrEnum):
    """How much an alert matters. CRITICAL: athletes lose something unless somebody acts; WARNING: they may, later."""

    CRITICAL = "critical"
    WARNING = "warning"


class AlertState(StrEnum):
    """The course of an alert; see :mod:`strava_pipeline.warehouse.watch.alerting`.

    PENDING: its condition holds, but not for long enough. FIRING: it is told. CLEARING: it was told, and its condition
    has ended, but not for long enough.
    """

    PENDING = "pending"
    FIRING = "firing"
    CLEARING = "clearing"


class AlertChange(StrEnum):
    """What a message tells: an alert fired, cleared or is told again, a test, or that a run failed."""

    FIRED = "fired"
    CLEARED = "cleared"
    AGAIN = "again"
    TEST = "test"
    RUN_FAILED = "run_failed"


class SendState(StrEnum):
    """The course of a message on one way. FAILED: given up. SKIPPED: this way is not set up."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


class DeliveryOutcome(StrEnum):
    """What became of a delivery. The first three were answered 200; STRANGER: it was of nobody who is connected."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    STRANGER = "stranger"
    REJECTED = "rejected"


class RejectReason(StrEnum):
    """Why a delivery was rejected. PATH: without the secret part of the path. DATABASE: it was not stored in time.

    SUBSCRIPTION: it was of another subscription. FAULT: by an error of ours.
    """

    PATH = "path"
    TOO_LARGE = "too_large"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_WRONG = "signature_wrong"
    SIGNATURE_EXPIRED = "signature_expired"
    MALFORMED = "malformed"
    SUBSCRIPTION = "subscription"
    DATABASE = "database"
    FAULT = "fault"


class RestoreOutcome(StrEnum):
    """What the check of a restored database found of an athlete, or did.

    CONNECTED: Strava accepts the tokens. RECONNECT: it does not, so the athlete must connect again. ERASED: the athlete
    had left after the backup, and was erased again.
    """

    CONNECTED = "connected"
    RECONNECT = "reconnect"
    ERASED = "erased"


class ArchiveKind(StrEnum):
    """What is handed in: an export of Strava's with its table, or recordings alone."""

    ARCHIVE = "archive"
    FILES = "files"


class CameBy(StrEnum):
    """The way by which something was handed in."""

    COMMAND = "command"
    UPLOAD = "upload"
    FOLDER = "folder"


class ArchiveState(StrEnum):
    """The course of an archive import. WAITING: it was handed in, and no run has begun it."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


class UploadState(StrEnum):
    """The course of an upload by browser. OPEN: parts of it are to come. HANDED_IN: an archive import reads it."""

    OPEN = "open"
    HANDED_IN = "handed_in"


class StreamSource(StrEnum):
    """Where an activity's samples come from: Strava's API, or a file that was handed in."""

    API = "api"
    FILE = "file"
