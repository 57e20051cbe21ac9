"""Name what an athlete who leaves needs as the glossary does: disconnect, erase, unregister, cancel; and an error."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

_STATEMENTS = """
ALTER TABLE ops.users DROP CONSTRAINT ck_users_dagster_task;
UPDATE ops.users SET dagster_task = 'erase' WHERE dagster_task = 'removal';
UPDATE ops.users SET dagster_task = 'unregister' WHERE dagster_task = 'departure';
ALTER TABLE ops.users ADD CONSTRAINT ck_users_dagster_task CHECK (dagster_task IN ('import', 'erase', 'unregister'));
COMMENT ON COLUMN ops.users.dagster_task IS 'what Dagster has yet to be told: import (add the partition, import the '
    'history), erase (the partition, the files in the lake and the runs) or unregister (delete the partition alone); '
    'empty: nothing';
UPDATE ops.operator_audit SET action = 'disconnect' WHERE action = 'forget';
UPDATE ops.operator_audit SET action = 'cancel' WHERE action = 'withdraw';
UPDATE ops.webhook_events SET error_kind = 'DatabaseUnavailable' WHERE error_kind = 'DatabaseAway';
COMMENT ON COLUMN ops.operator_audit.action IS 'connect, disconnect, replay, discard, login, logout, invite, cancel';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
