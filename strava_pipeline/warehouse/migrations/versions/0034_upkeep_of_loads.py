"""Training loads are compared with their figures once a day."""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"

_STATEMENTS = """
ALTER TABLE ops.upkeep DROP CONSTRAINT ck_upkeep_kind;
ALTER TABLE ops.upkeep ADD CONSTRAINT ck_upkeep_kind
    CHECK (kind IN ('recent', 'history', 'profile', 'gear', 'details', 'loads'));
COMMENT ON COLUMN ops.upkeep.kind IS 'recent, history, profile, gear, details or loads';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
