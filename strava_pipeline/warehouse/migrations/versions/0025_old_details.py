"""Find the details that were asked for longest ago by an index."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_payloads_details ON ops.payloads (fetched_at) WHERE kind = 'detail'")
