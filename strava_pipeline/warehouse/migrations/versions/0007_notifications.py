"""Mails and what became of them; athletes who want none any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column("kind", sa.Text(), autoincrement=False, nullable=False, comment="ride_summary"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="whose activity, and to whom the mail goes"),
        sa.Column("state", sa.Text(), nullable=False, comment="pending, sent, failed or skipped"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it was skipped, failed, or has to be tried again"),
        sa.Column(
            "attempts", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="how often sending began"
        ),
        sa.Column(
            "next_try_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it is due (UTC), or while it is being sent, when that try counts as dead",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.clock_timestamp(),
            nullable=False,
            comment="when the activity had been stored (UTC)",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="when it was sent, or given up (UTC)"
        ),
        # The naming convention of the metadata is not known to a bare check: the full names stand here.
        sa.CheckConstraint("state IN ('pending', 'sent', 'failed', 'skipped')", name=op.f("ck_notifications_state")),
        sa.CheckConstraint("(state = 'pending') = (next_try_at IS NOT NULL)", name=op.f("ck_notifications_due")),
        sa.PrimaryKeyConstraint("activity_id", "kind", name=op.f("pk_notifications")),
        schema="ops",
        comment="mails about new activities, one row each at most, and what became of them",
    )
    op.create_index(
        "ix_notifications_due",
        "notifications",
        ["next_try_at"],
        schema="ops",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(op.f("ix_notifications_athlete_id"), "notifications", ["athlete_id"], schema="ops")
    op.add_column(
        "users",
        sa.Column(
            "unsubscribed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the athlete last ended the mails (UTC); the address was erased then",
        ),
        schema="ops",
    )
