"""Give readiness a row to write."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

_STATEMENTS = """
CREATE TABLE ops.write_probe (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT pk_write_probe PRIMARY KEY (id),
    CONSTRAINT ck_write_probe_one CHECK (id = 1)
);
COMMENT ON TABLE ops.write_probe IS 'written to find out whether the database accepts writes';
COMMENT ON COLUMN ops.write_probe.id IS 'always 1';
COMMENT ON COLUMN ops.write_probe.at IS 'when it was last written (UTC)';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
