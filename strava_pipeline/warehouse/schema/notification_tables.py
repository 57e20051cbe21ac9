"""The tables of mails (schema ``ops``): the queue, and the count of mails that ask for confirmation."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, UniqueConstraint, text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time, holds_one_of, key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import ENDED_MAIL_STATES, MailKind, MailState

_IS_PENDING = f"state = '{MailState.PENDING}'"
_IS_RIDE_SUMMARY = f"kind = '{MailKind.RIDE_SUMMARY}'"
_IS_HISTORY = f"kind = '{MailKind.HISTORY}'"


def _one_pending(name: str, kind: MailKind) -> Index:
    """The index by which an athlete has one pending mail of a kind at most."""
    return Index(name, "athlete_id", unique=True, postgresql_where=text(f"{_IS_PENDING} AND kind = '{kind}'"))


notifications = Table(
    "notifications",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True, comment="order of the mails"),
    columns.bigint("activity_id", "Strava's id of the activity of a ride_summary"),
    columns.text(
        "kind",
        "ride_summary; confirmation: asks the owner of an address whether mails may go there; reconnect: asks an"
        " athlete whose grant has ended to connect again; history: an archive of theirs was imported",
        required=True,
    ),
    columns.bigint("athlete_id", "whose activity, address or grant, and to whom the mail goes", required=True),
    columns.text("state", "pending, sent, failed or skipped", required=True),
    columns.text("reason", "why it was skipped, failed, or has to be tried again"),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="how often sending began"),
    columns.instant("next_try_at", "when it is due (UTC), or while it is being sent, when that try counts as dead"),
    Column(
        "created_at",
        UTC_TIME,
        nullable=False,
        server_default=database_time(),
        comment="when the activity had been stored, the address was given, the grant was found to have ended, or the"
        " archive had been imported (UTC)",
    ),
    columns.instant("finished_at", "when it was sent, or given up (UTC)"),
    columns.is_counted(),
    columns.bigint("import_id", "number of the archive import of a history"),
    UniqueConstraint("activity_id", "kind"),
    CheckConstraint(f"({_IS_RIDE_SUMMARY}) = (activity_id IS NOT NULL)", name="activity"),
    only("state", MailState),
    CheckConstraint(f"({_IS_PENDING}) = (next_try_at IS NOT NULL)", name="due"),
    Index("ix_notifications_due", "next_try_at", postgresql_where=text(_IS_PENDING)),
    _one_pending("ix_notifications_asking", MailKind.CONFIRMATION),
    _one_pending("ix_notifications_reconnect", MailKind.RECONNECT),
    Index("uq_notifications_history", "import_id", unique=True, postgresql_where=text(_IS_HISTORY)),
    Index(None, "athlete_id"),
    Index(None, "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index(
        "ix_notifications_uncounted",
        "id",
        postgresql_where=text(f"NOT is_counted AND {holds_one_of('state', ENDED_MAIL_STATES)}"),
    ),
    schema=SCHEMA,
    comment="mails about new activities, one row each at most, those that ask athletes for something, and their fate",
)

confirmation_mails = Table(
    "confirmation_mails",
    metadata,
    key("notification_id", BigInteger, "the mail in ops.notifications, which may be gone by now"),
    columns.bigint("athlete_id", "who gave the address", required=True),
    columns.text(
        "mailbox_hash", "keyed hash of the address, tags and dots left out; tells nothing without a key", required=True
    ),
    Column(
        "began_at",
        UTC_TIME,
        nullable=False,
        server_default=database_time(),
        comment="when sending it began (UTC); the row goes after thirty days",
    ),
    Index(None, "began_at"),
    Index(None, "mailbox_hash", "began_at"),
    Index(None, "athlete_id", "began_at"),
    schema=SCHEMA,
    comment="what was asked of whom, counted so that nobody can have a stranger flooded; outlives the athletes",
)
