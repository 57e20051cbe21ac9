"""Mark files of the lake that differ from the tables."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"

_STATEMENTS = """
ALTER TABLE ops.import_months ADD COLUMN lake_outdated_at timestamp with time zone;
COMMENT ON COLUMN ops.import_months.lake_outdated_at IS
    'since when the month''s file in the lake may differ from the tables (UTC); empty: it does not';
CREATE INDEX ix_import_months_outdated ON ops.import_months (lake_outdated_at) WHERE lake_outdated_at IS NOT NULL;
-- Samples of activities that were deleted until now may be in any file.
UPDATE ops.import_months SET lake_outdated_at = ops.clock() WHERE lake_at IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
