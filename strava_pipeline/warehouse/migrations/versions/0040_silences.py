"""The audit tells who silenced alerts, and who tested how they are told."""

from __future__ import annotations

from alembic import op

revision = "0040"
down_revision = "0039"

_STATEMENTS = """
COMMENT ON COLUMN ops.operator_audit.action IS
    'connect, disconnect, erase (the data are deleted), import, pause, resume, replay, discard, login, logout,'
    ' invite, cancel, silence (a rule of alerts), end_silence, test_alerts';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
