"""Rows that are locked instead of numbers anybody could lock, and leases of those who work for long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "locks",
        sa.Column("name", sa.Text(), nullable=False, comment="what it guards"),
        sa.Column(
            "athlete_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="whose that is; 0: nobody's in particular",
        ),
        sa.Column("subject", sa.Text(), nullable=False, comment="which of the athlete's, such as a month; empty: all"),
        sa.PrimaryKeyConstraint("name", "athlete_id", "subject", name=op.f("pk_locks")),
        schema="ops",
        comment="what one transaction at a time may do: it locks the row meanwhile; the rows themselves never change",
    )
    op.create_table(
        "work_leases",
        sa.Column(
            "athlete_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="whose data is worked on"
        ),
        sa.Column("work", sa.Text(), nullable=False, comment="step and month"),
        sa.Column("holder", sa.Text(), nullable=False, comment="the worker, by a number drawn at random"),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the worker is taken to be gone from here on (UTC); it extends this",
        ),
        sa.PrimaryKeyConstraint("athlete_id", "work", name=op.f("pk_work_leases")),
        schema="ops",
        comment="who is at work on what takes longer than a transaction may",
    )
