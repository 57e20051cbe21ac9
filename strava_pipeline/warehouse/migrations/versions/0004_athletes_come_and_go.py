"""States of OAuth, what operators did, and what Dagster has yet to be told of an athlete."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "dagster_task",
            sa.Text(),
            nullable=True,
            comment="what Dagster has yet to be told: import (add the partition, import the history), removal (of the"
            " partition and of the files in the lake) or departure (of the partition alone); empty: nothing",
        ),
        schema="ops",
    )
    # The naming convention of the metadata is not known to a bare check: the full name stands here.
    op.create_check_constraint(
        "ck_users_dagster_task", "users", "dagster_task IN ('import', 'removal', 'departure')", schema="ops"
    )
    op.create_table(
        "oauth_states",
        sa.Column("state_hash", sa.Text(), nullable=False, comment="sha256 of the state that Strava sends back"),
        sa.Column("browser_hash", sa.Text(), nullable=False, comment="sha256 of the cookie of the browser that began"),
        sa.Column("email", sa.Text(), nullable=True, comment="where ride summaries are to go; empty for none"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="no longer good from here (UTC)"),
        sa.PrimaryKeyConstraint("state_hash", name="pk_oauth_states"),
        schema="ops",
        comment="connections under way: each state works once, in the browser that began",
    )
    op.create_table(
        "operator_audit",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False, comment="order of the actions"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.func.clock_timestamp(),
            nullable=False,
            comment="when (UTC)",
        ),
        sa.Column("actor", sa.Text(), nullable=False, comment="operator, athlete, command or strava"),
        sa.Column("action", sa.Text(), nullable=False, comment="connect, forget, replay, discard, login"),
        sa.Column("subject", sa.Text(), nullable=True, comment="athlete or event concerned"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="ok or failed"),
        sa.Column("detail", sa.Text(), nullable=True, comment="cause and extent; never health data, never a secret"),
        sa.PrimaryKeyConstraint("id", name="pk_operator_audit"),
        schema="ops",
        comment="what people did to athletes and events, and on whose word",
    )
