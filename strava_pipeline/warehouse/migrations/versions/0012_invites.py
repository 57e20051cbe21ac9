"""An invitation serves one person unless said otherwise; what is too old in the audits is found by its time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

AUDITS = ("token_audit", "operator_audit")


def upgrade() -> None:
    op.create_table(
        "invites",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False, comment="order in which they were made"),
        sa.Column(
            "secret_hash",
            sa.Text(),
            nullable=False,
            comment="sha256 of the secret part of the link; places of one link share it",
        ),
        sa.Column(
            "proof", sa.Text(), nullable=False, comment="of the operator's token it was made under; tells nothing of it"
        ),
        sa.Column(
            "made_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the link was made (UTC)",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="no longer good from here (UTC)"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=True, comment="who has connected by it; empty: nobody yet"),
        sa.Column(
            "used_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when that was (UTC); empty: the place is free",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how often Strava was asked for somebody's tokens by it",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
        schema="ops",
        comment="links by which others may connect: one row for each person a link is good for",
    )
    op.create_index(op.f("ix_invites_secret_hash"), "invites", ["secret_hash"], schema="ops")
    op.create_index(op.f("ix_invites_expires_at"), "invites", ["expires_at"], schema="ops")
    op.add_column(
        "oauth_states",
        sa.Column(
            "link_hash",
            sa.Text(),
            nullable=True,
            comment="sha256 of the secret part of the link it was begun by; empty: the operator began it",
        ),
        schema="ops",
    )
    op.create_index(op.f("ix_oauth_states_link_hash"), "oauth_states", ["link_hash"], schema="ops")
    for table in AUDITS:
        op.create_index(op.f(f"ix_{table}_at"), table, ["at"], schema="ops")
    op.alter_column(
        "operator_audit",
        "action",
        existing_type=sa.Text(),
        existing_nullable=False,
        comment="connect, forget, replay, discard, login, logout, invite, withdraw",
        existing_comment="connect, forget, replay, discard, login",
        schema="ops",
    )
