"""Athletes with an address, as rows of ``ops.users``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def with_address(athlete_id: int, email: str, *, is_confirmed: bool = True) -> dict[str, Any]:
    """The row of an athlete who gave an address an hour ago, and confirmed it right then, or not yet."""
    given_at = datetime.now(UTC) - timedelta(hours=1)
    return {
        "athlete_id": athlete_id,
        "scopes": [],
        "state": "active",
        "generation": 1,
        "email": email,
        "email_given_at": given_at,
        "email_confirmed_at": given_at if is_confirmed else None,
        "email_nonce": f"email-{athlete_id}",
        "unsubscribe_nonce": f"unsubscribe-{athlete_id}",
    }
