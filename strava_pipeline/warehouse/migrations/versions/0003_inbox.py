"""The inbox: coalescing, retries and dead letters; tombstones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

OPEN = sa.text("state IN ('received', 'launched', 'waiting')")


def upgrade() -> None:
    op.execute("CREATE SEQUENCE ops.webhook_claims")
    _alter_events()
    _add_columns()
    _create_indexes()
    _create_tombstones()


def _alter_events() -> None:
    op.drop_constraint(op.f("ck_webhook_events_state"), "webhook_events", schema="ops", type_="check")
    op.create_check_constraint(
        op.f("ck_webhook_events_state"),
        "webhook_events",
        "state IN ('received', 'launched', 'waiting', 'done', 'dead', 'parked', 'discarded')",
        schema="ops",
    )
    op.alter_column(
        "webhook_events",
        "fence",
        type_=sa.BigInteger(),
        existing_type=sa.Integer(),
        existing_nullable=False,
        existing_server_default=sa.text("0"),
        comment="number of the claim on its object that has it, or had it last; a newer claim makes it void",
        schema="ops",
    )
    # Fences of before this revision must not come back as numbers of new claims.
    op.execute("SELECT setval('ops.webhook_claims', (SELECT coalesce(max(fence), 0) + 1 FROM ops.webhook_events))")
    for name, kind, comment in (
        ("state", sa.Text(), "received, launched, waiting, done, dead, parked or discarded"),
        ("attempts", sa.Integer(), "how often it ended as a dead letter"),
    ):
        op.alter_column("webhook_events", name, existing_type=kind, comment=comment, schema="ops")
    op.alter_column(
        "payloads",
        "body",
        existing_type=sa.JSON(),
        comment="Strava's answer as it came, with the title or privacy that an event told since",
        schema="ops",
    )


def _add_columns() -> None:
    for name, comment in (
        ("waits", "how often it waited for its activity or streams to appear"),
        ("lost_runs", "how often a run that had it ended without a word"),
        ("redrives", "how often it was tried again by itself after it had died"),
    ):
        op.add_column(
            "webhook_events",
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False, comment=comment),
            schema="ops",
        )
    for name, kind, comment in (
        ("waiting_for", sa.Text(), "when waiting: dagster, activity, streams, quota, app or replay"),
        (
            "taken_up_at",
            sa.DateTime(timezone=True),
            "when the run that has it began to work (UTC); empty: it has not begun",
        ),
        ("error_kind", sa.Text(), "class of the error that ended it, when dead"),
        (
            "redrive_at",
            sa.DateTime(timezone=True),
            "when dead: tried again by itself at this time (UTC); empty: waits for an operator",
        ),
        ("discarded_at", sa.DateTime(timezone=True), "when an operator discarded it (UTC)"),
        ("discarded_by", sa.Text(), "who discarded it"),
        ("discarded_because", sa.Text(), "why it was discarded"),
    ):
        op.add_column("webhook_events", sa.Column(name, kind, nullable=True, comment=comment), schema="ops")


def _create_indexes() -> None:
    for name, column, where in (
        ("ix_webhook_events_open_object", "object_id", OPEN),
        ("ix_webhook_events_dead", "id", sa.text("state IN ('dead', 'parked')")),
        ("ix_webhook_events_done", "finished_at", sa.text("state = 'done'")),
    ):
        op.create_index(name, "webhook_events", [column], schema="ops", postgresql_where=where)


def _create_tombstones() -> None:
    op.create_table(
        "tombstones",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity that is gone",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="whose it was"),
        sa.Column(
            "asked_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when Strava was asked whether it is still there (UTC); older answers are void",
        ),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when what was stored of it was deleted (UTC)",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="what told that it is gone"),
        sa.PrimaryKeyConstraint("activity_id", name=op.f("pk_tombstones")),
        schema="ops",
        comment="activities that Strava no longer has, so that a late answer brings none of them back",
    )
    op.create_index(op.f("ix_tombstones_athlete_id"), "tombstones", ["athlete_id"], schema="ops")
