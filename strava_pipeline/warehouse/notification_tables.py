"""The table of mails (schema ``ops``)."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, func, text

from strava_pipeline.warehouse import columns as c
from strava_pipeline.warehouse.columns import UTC_TIME, key
from strava_pipeline.warehouse.ops_tables import SCHEMA
from strava_pipeline.warehouse.tables import metadata

notifications = Table(
    "notifications",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity"),
    key("kind", Text, "ride_summary"),
    c.bigint("athlete_id", "whose activity, and to whom the mail goes", required=True),
    c.text("state", "pending, sent, failed or skipped", required=True),
    c.text("reason", "why it was skipped, failed, or has to be tried again"),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="how often sending began"),
    c.instant("next_try_at", "when it is due (UTC), or while it is being sent, when that try counts as dead"),
    Column(
        "created_at",
        UTC_TIME,
        nullable=False,
        server_default=func.clock_timestamp(),
        comment="when the activity had been stored (UTC)",
    ),
    c.instant("finished_at", "when it was sent, or given up (UTC)"),
    CheckConstraint("state IN ('pending', 'sent', 'failed', 'skipped')", name="state"),
    CheckConstraint("(state = 'pending') = (next_try_at IS NOT NULL)", name="due"),
    Index("ix_notifications_due", "next_try_at", postgresql_where=text("state = 'pending'")),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="mails about new activities, one row each at most, and what became of them",
)
