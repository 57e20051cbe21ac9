"""States of OAuth, tombstones, and what operators did."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    pass
