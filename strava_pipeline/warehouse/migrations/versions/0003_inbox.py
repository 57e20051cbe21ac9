"""The inbox: coalescing, retries and dead letters."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
