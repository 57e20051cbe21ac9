"""An address gets mails once its owner has confirmed it, and an unsubscribe link can be taken back."""

from __future__ import annotations

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Nothing yet."""
