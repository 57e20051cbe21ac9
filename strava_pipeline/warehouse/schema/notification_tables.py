"""The tables of mails (schema ``ops``): the queue, and the count of mails that ask for confirmation."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, UniqueConstraint, text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time, key, only
from strava_pipeline.warehouse.schema.ops_tables import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import MailKind, MailState

_IS_PENDING = f"state = '{MailState.PENDING}'"
_IS_CONFIRMATION = f"kind = '{MailKind.CONFIRMATION}'"

notifications = Table(
    "notifications",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True, comment="order of the mails"),
    columns.bigint("activity_id", "Strava's id of the activity; empty for a confirmation"),
    columns.text(
        "kind", "ride_summary, or confirmation: asks the owner of an address whether mails may go there", required=True
    ),
    columns.bigint("athlete_id", "whose activity or address, and to whom the mail goes", required=True),
    columns.text("state", "pending, sent, failed or skipped", required=True),
    columns.text("reason", "why it was skipped, failed, or has to be tried again"),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="how often sending began"),
    columns.instant("next_try_at", "when it is due (UTC), or while it is being sent, when that try counts as dead"),
    Column(
        "created_at",
        UTC_TIME,
        nullable=False,
        server_default=database_time(),
        comment="when the activity had been stored, or the address was given (UTC)",
    ),
    columns.instant("finished_at", "when it was sent, or given up (UTC)"),
    UniqueConstraint("activity_id", "kind"),
    CheckConstraint(f"({_IS_CONFIRMATION}) = (activity_id IS NULL)", name="activity"),
    only("state", MailState),
    CheckConstraint(f"({_IS_PENDING}) = (next_try_at IS NOT NULL)", name="due"),
    Index("ix_notifications_due", "next_try_at", postgresql_where=text(_IS_PENDING)),
    Index(
        "ix_notifications_asking",
        "athlete_id",
        unique=True,
        postgresql_where=text(f"{_IS_PENDING} AND {_IS_CONFIRMATION}"),
    ),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="mails about new activities, one row each at most, those that confirm addresses, and what became of them",
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
