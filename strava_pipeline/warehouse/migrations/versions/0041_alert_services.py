"""The services that have an alert's message by now."""

from __future__ import annotations

from alembic import op

revision = "0041"
down_revision = "0040"

_STATEMENTS = """
ALTER TABLE ops.alert_messages ADD COLUMN pushed_to text[] DEFAULT '{}' NOT NULL;
COMMENT ON COLUMN ops.alert_messages.pushed_to IS
    'the services that have it by now: for each, four digits of its address'' sha256';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
