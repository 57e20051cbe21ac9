"""Note when each athlete last connected, so that no answer to an earlier grant is stored under a later one."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"

_STATEMENTS = """
ALTER TABLE ops.users ADD COLUMN granted_at timestamp with time zone;
COMMENT ON COLUMN ops.users.granted_at IS
    'when the athlete last connected (UTC); empty: before this was noted';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
