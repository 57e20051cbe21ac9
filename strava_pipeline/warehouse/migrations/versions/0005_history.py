"""Tables of history for analysts, payloads, the analyst's role."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass
