"""The server and database that the tables belong to, and how far the check of a restored database has come."""

from __future__ import annotations

from alembic import op

revision = "0043"
down_revision = "0042"

_STATEMENTS = """
CREATE TABLE ops.database_identity (
    id integer NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid bigint NOT NULL,
    check_begun_at timestamp with time zone,
    CONSTRAINT pk_database_identity PRIMARY KEY (id),
    CONSTRAINT ck_database_identity_one CHECK (id = 1)
);
COMMENT ON TABLE ops.database_identity IS
    'the server and database that these tables belong to; elsewhere they come from a backup';
COMMENT ON COLUMN ops.database_identity.id IS 'always 1';
COMMENT ON COLUMN ops.database_identity.system_identifier IS
    'the server''s, as pg_control_system() tells it; 0: our login may not ask';
COMMENT ON COLUMN ops.database_identity.database_oid IS 'the database''s, as pg_database has it';
COMMENT ON COLUMN ops.database_identity.check_begun_at IS
    'since when a restored database is compared with Strava (UTC), and nothing else may call; empty: it is not';
CREATE TABLE ops.restore_checks (
    athlete_id bigint NOT NULL,
    outcome text NOT NULL,
    checked_at timestamp with time zone DEFAULT ops.clock() NOT NULL,
    CONSTRAINT pk_restore_checks PRIMARY KEY (athlete_id),
    CONSTRAINT ck_restore_checks_outcome CHECK (outcome IN ('connected', 'reconnect', 'erased'))
);
COMMENT ON TABLE ops.restore_checks IS
    'how far the check of a restored database has come; rows go when it has ended';
COMMENT ON COLUMN ops.restore_checks.athlete_id IS 'who was looked after';
COMMENT ON COLUMN ops.restore_checks.outcome IS
    'connected, reconnect (the athlete must connect again) or erased (again)';
COMMENT ON COLUMN ops.restore_checks.checked_at IS 'when (UTC)';
COMMENT ON COLUMN ops.operator_audit.action IS
    'connect, disconnect, erase (the data are deleted), import, pause, resume, replay, discard, login, logout,'
    ' invite, cancel, silence (a rule of alerts), end_silence, test_alerts, restore (check of a backup)';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
