"""An address gets mails once its owner has confirmed it, and an unsubscribe link can be taken back.

Nobody has confirmed the addresses that are here already: each gets one mail that asks, and nothing else until then.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ASK_EVERYBODY = """
UPDATE ops.users SET
    email_given_at = clock_timestamp(),
    email_nonce = replace(gen_random_uuid()::text, '-', ''),
    unsubscribe_nonce = replace(gen_random_uuid()::text, '-', '')
WHERE email IS NOT NULL
"""
ANNOUNCE = """
INSERT INTO ops.notifications (kind, athlete_id, state, next_try_at)
SELECT 'confirmation', athlete_id, 'pending', clock_timestamp() FROM ops.users WHERE email IS NOT NULL
"""


def upgrade() -> None:
    _consent()
    _kinds_of_mails()
    op.create_table(
        "confirmation_mails",
        sa.Column(
            "notification_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the mail in ops.notifications, which may be gone by now",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="who gave the address"),
        sa.Column(
            "mailbox_hash",
            sa.Text(),
            nullable=False,
            comment="keyed hash of the address, tags and dots left out; tells nothing without a key",
        ),
        sa.Column(
            "began_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.clock_timestamp(),
            nullable=False,
            comment="when sending it began (UTC); the row goes after thirty days",
        ),
        sa.PrimaryKeyConstraint("notification_id", name=op.f("pk_confirmation_mails")),
        schema="ops",
        comment="what was asked of whom, counted so that nobody can have a stranger flooded; outlives the athletes",
    )
    for columns in (["began_at"], ["mailbox_hash", "began_at"], ["athlete_id", "began_at"]):
        name = f"ix_confirmation_mails_{'_'.join(columns)}"
        op.create_index(op.f(name), "confirmation_mails", columns, schema="ops")
    op.execute(ASK_EVERYBODY)
    op.execute(ANNOUNCE)
    op.create_check_constraint(
        op.f("ck_users_mail_consent"),
        "users",
        "num_nulls(email, email_given_at, email_nonce, unsubscribe_nonce) IN (0, 4)"
        " AND (email IS NOT NULL OR email_confirmed_at IS NULL)",
        schema="ops",
    )


def _consent() -> None:
    op.alter_column(
        "users", "email", comment="where ride summaries go once it is confirmed; empty for none", schema="ops"
    )
    for column in (
        sa.Column(
            "email_given_at",
            sa.DateTime(timezone=True),
            comment="when the address was last given (UTC); not confirmed, it is erased a week later",
        ),
        sa.Column(
            "email_confirmed_at",
            sa.DateTime(timezone=True),
            comment="when its owner confirmed it (UTC); empty: not yet, and it gets nothing but mails that ask for that",
        ),
        sa.Column(
            "email_nonce",
            sa.Text(),
            comment="bound into the link that confirms the address; another one with each address",
        ),
        sa.Column(
            "unsubscribe_nonce",
            sa.Text(),
            comment="bound into the links that end the mails; all links with another one are void",
        ),
    ):
        op.add_column("users", column, schema="ops")


def _kinds_of_mails() -> None:
    op.drop_constraint(op.f("pk_notifications"), "notifications", schema="ops")
    # Numbers the rows that are there.
    op.execute("ALTER TABLE ops.notifications ADD COLUMN id BIGSERIAL CONSTRAINT pk_notifications PRIMARY KEY")
    for name, comment in (
        ("id", "order of the mails"),
        ("activity_id", "Strava's id of the activity; empty for a confirmation"),
        ("kind", "ride_summary, or confirmation: asks the owner of an address whether mails may go there"),
        ("athlete_id", "whose activity or address, and to whom the mail goes"),
        ("created_at", "when the activity had been stored, or the address was given (UTC)"),
    ):
        op.alter_column("notifications", name, comment=comment, schema="ops")
    op.alter_column("notifications", "activity_id", nullable=True, schema="ops")
    op.create_unique_constraint(
        op.f("uq_notifications_activity_id_kind"), "notifications", ["activity_id", "kind"], schema="ops"
    )
    op.create_check_constraint(
        op.f("ck_notifications_activity"),
        "notifications",
        "(kind = 'confirmation') = (activity_id IS NULL)",
        schema="ops",
    )
    op.create_index(
        "ix_notifications_asking",
        "notifications",
        ["athlete_id"],
        unique=True,
        schema="ops",
        postgresql_where=sa.text("state = 'pending' AND kind = 'confirmation'"),
    )
    op.create_table_comment(
        "notifications",
        "mails about new activities, one row each at most, those that confirm addresses, and what became of them",
        schema="ops",
    )
