"""Count the calls of the lanes live and reconcile apart in each rate window."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"

# The windows of this day begin with 0: upkeep may use its share of them once more.
_STATEMENTS = """
ALTER TABLE ops.quota_windows
    ADD COLUMN booked_live integer NOT NULL DEFAULT 0,
    ADD COLUMN booked_reconcile integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.quota_windows.booked_live IS 'of these, calls of the lane live';
COMMENT ON COLUMN ops.quota_windows.booked_reconcile IS 'of these, calls of the lane reconcile';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
