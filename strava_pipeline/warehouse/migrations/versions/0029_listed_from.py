"""Note from which month on a history was listed, so that months that are kept from now on are listed, too."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"

_STATEMENTS = """
ALTER TABLE ops.histories ADD COLUMN listed_from date;
COMMENT ON COLUMN ops.histories.listed_from IS
    'first day of the month from which on it was listed (UTC); empty: the earliest one';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
