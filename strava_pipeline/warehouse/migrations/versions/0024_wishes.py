"""Ask for the imports of athletes who connected in the browser; the operator may ask for one, pause and resume it."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"

_STATEMENTS = """
ALTER TABLE ops.imports DROP CONSTRAINT ck_imports_made_by;
ALTER TABLE ops.imports ADD CONSTRAINT ck_imports_made_by
    CHECK (made_by IN ('connect', 'operator', 'command', 'run', 'upkeep'));
COMMENT ON COLUMN ops.imports.made_by IS 'connect, operator, command, run (months of a run failed) or upkeep';
COMMENT ON COLUMN ops.operator_audit.action IS
    'connect, disconnect, import, pause, resume, replay, discard, login, logout, invite, cancel';

-- Nothing that is stored is asked for again: each history is listed once, and what it lacks is fetched.
INSERT INTO ops.imports (athlete_id, steps, profile, made_at, made_by, state, next_at, newest_at)
    SELECT athlete_id, ARRAY['summary', 'detail', 'streams', 'figures'], true, connected_at, 'connect', 'due',
        ops.clock(),
        CASE WHEN EXISTS (SELECT FROM strava.activities AS a WHERE a.athlete_id = u.athlete_id) THEN ops.clock() END
    FROM ops.users AS u
    WHERE dagster_task = 'import' OR state <> 'revoked' AND EXISTS (
        SELECT FROM ops.operator_audit WHERE action = 'connect' AND subject = 'athlete ' || u.athlete_id)
    ON CONFLICT DO NOTHING;
ALTER TABLE ops.users DROP CONSTRAINT ck_users_dagster_task;
UPDATE ops.users SET dagster_task = 'register' WHERE dagster_task = 'import';
ALTER TABLE ops.users ADD CONSTRAINT ck_users_dagster_task CHECK (dagster_task IN ('register', 'erase', 'unregister'));
COMMENT ON COLUMN ops.users.dagster_task IS 'what Dagster has yet to be told: register (add the partition), erase (the '
    'partition, the files in the lake and the runs) or unregister (delete the partition alone); empty: nothing';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
