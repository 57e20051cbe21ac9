"""Keep until when backfills leave their room to a new athlete's newest month."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"

_STATEMENTS = """
ALTER TABLE ops.quota_windows ADD COLUMN newest_until timestamp with time zone;
COMMENT ON COLUMN ops.quota_windows.newest_until IS
    'backfills leave their room to a new athlete''s newest month before this time (UTC, Strava''s clock)';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
