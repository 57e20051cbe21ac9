"""Find old rate windows and old mails by index."""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"

_STATEMENTS = """
CREATE INDEX ix_quota_windows_starts_at ON ops.quota_windows (starts_at);
CREATE INDEX ix_notifications_finished_at ON ops.notifications (finished_at) WHERE finished_at IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
