"""Key checks, the journal of refreshes, the app's status, and quota windows of single athletes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "refreshed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a refresh last gave the tokens (UTC); empty: they came with a code",
        ),
        schema="ops",
    )
    op.add_column(
        "users",
        sa.Column(
            "refresh_not_before",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="after a failed refresh: no other one before this time (UTC)",
        ),
        schema="ops",
    )
    _recomment_token_audit()
    _create_token_journal()
    _create_key_checks()
    _create_app_status()
    op.create_index("ix_api_calls_lane_reserved_at", "api_calls", ["lane", "reserved_at"], schema="ops")
    op.add_column(
        "quota_windows",
        sa.Column(
            "scope",
            sa.Text(),
            nullable=False,
            server_default="app",
            comment="app, or athlete and an id, where the limits are the athlete's own",
        ),
        schema="ops",
    )
    op.alter_column("quota_windows", "scope", server_default=None, schema="ops")
    op.drop_constraint("pk_quota_windows", "quota_windows", schema="ops")
    op.create_primary_key("pk_quota_windows", "quota_windows", ["scope", "length_s", "starts_at"], schema="ops")
    op.alter_column(
        "quota_windows",
        "blocked_until",
        comment="no call before this time (UTC, Strava's clock): Strava answered 429",
        schema="ops",
    )
    op.create_index(
        "ix_quota_windows_blocked",
        "quota_windows",
        ["scope", "blocked_until"],
        schema="ops",
        postgresql_where=sa.text("blocked_until IS NOT NULL"),
    )


def _recomment_token_audit() -> None:
    for column, comment in (
        ("outcome", "ok, adopted (the answer to a process that died), or failed"),
        ("detail", "what went wrong, in Strava's words, or between which keys; never a token"),
    ):
        op.alter_column("token_audit", column, comment=comment, schema="ops")


def _create_token_journal() -> None:
    op.create_table(
        "token_journal",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False, comment="order of the attempts"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="whose tokens"),
        sa.Column("generation", sa.Integer(), nullable=False, comment="of the token pair this attempt was to give"),
        sa.Column(
            "begun_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the refresh began (UTC), before Strava was asked",
        ),
        sa.Column(
            "answered_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the answer was stored (UTC); empty: none came, or the process died",
        ),
        sa.Column("strava_access_token", sa.Text(), nullable=True, comment="envelope, as it will stand in ops.users"),
        sa.Column("strava_refresh_token", sa.Text(), nullable=True, comment="envelope, as it will stand in ops.users"),
        sa.Column(
            "strava_token_expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the access token ends (UTC)",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_token_journal"),
        schema="ops",
        comment="refreshes under way: what Strava issued is kept here before anything else is done with it",
    )
    op.create_index("ix_token_journal_athlete_id", "token_journal", ["athlete_id"], schema="ops")


def _create_key_checks() -> None:
    op.create_table(
        "key_checks",
        sa.Column("key_id", sa.Text(), nullable=False, comment="id of a key of STRAVA_TOKEN_KEYS"),
        sa.Column(
            "check_value",
            sa.Text(),
            nullable=False,
            comment="tells whether a process has the same key under this id; nothing of the key",
        ),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the key was used first (UTC)",
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_key_checks"),
        schema="ops",
        comment="the keys that wrote tokens into this database",
    )


def _create_app_status() -> None:
    op.create_table(
        "app_status",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False, comment="always 1: there is one app"),
        sa.Column(
            "inactive_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when Strava has the app switched off (UTC); empty: it is not",
        ),
        sa.Column(
            "probe_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the next call may try whether it is on again (UTC)",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Strava's words"),
        sa.Column(
            "clock_offset_s",
            sa.Double(),
            nullable=True,
            comment="Strava's clock minus the database's, as learned from its answers, s",
        ),
        sa.Column("clock_error_s", sa.Double(), nullable=True, comment="by how much that may be wrong, either way, s"),
        sa.Column(
            "clock_learned_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when an answer last confirmed that (UTC); empty: never, or one contradicts it",
        ),
        sa.CheckConstraint("id = 1", name="ck_app_status_one"),
        sa.PrimaryKeyConstraint("id", name="pk_app_status"),
        schema="ops",
        comment="what all processes know of the Strava app",
    )
