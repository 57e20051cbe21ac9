"""Read the database's time through one function."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

_CLOCK = """
CREATE FUNCTION ops.clock() RETURNS timestamp with time zone LANGUAGE sql VOLATILE PARALLEL SAFE
    AS 'SELECT pg_catalog.clock_timestamp()';
COMMENT ON FUNCTION ops.clock() IS 'the time (UTC) that all processes use';
"""
_STAMPED = (
    "users.connected_at",
    "users.updated_at",
    "token_audit.at",
    "token_journal.begun_at",
    "key_checks.first_seen_at",
    "api_calls.reserved_at",
    "webhook_events.received_at",
    "tombstones.deleted_at",
    "operator_sessions.opened_at",
    "invites.made_at",
    "operator_audit.at",
    "notifications.created_at",
    "confirmation_mails.began_at",
)


def upgrade() -> None:
    op.execute(_CLOCK)
    for place in _STAMPED:
        table, column = place.split(".")
        op.execute(f"ALTER TABLE ops.{table} ALTER COLUMN {column} SET DEFAULT ops.clock()")
