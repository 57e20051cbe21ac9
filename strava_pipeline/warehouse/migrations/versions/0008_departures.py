"""What a departing athlete's events may wait for, and what of theirs goes in Dagster."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.alter_column(
        "webhook_events",
        "waiting_for",
        comment="when waiting: dagster, activity, streams, quota, app, strava, database or replay",
        schema="ops",
    )
    op.alter_column(
        "users",
        "dagster_task",
        comment="what Dagster has yet to be told: import (add the partition, import the history), removal (of the"
        " partition, the files in the lake and the runs) or departure (of the partition alone); empty: nothing",
        schema="ops",
    )
