"""Connections under way: a state of 256 bits works once, for ten minutes, in the browser that began.

Only hashes are stored: who reads the table can finish nobody's connection.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, select

from strava_pipeline.warehouse.ops_tables import oauth_states

STATE_BYTES = 32
LIFETIME = timedelta(minutes=10)
# Until then one that has ended can be told from one that never was.
FORGOTTEN_AFTER = timedelta(days=1)


class Ended(StrEnum):
    """Why a state that came back does not count."""

    UNKNOWN = "unknown"
    FOREIGN = "foreign"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Began:
    """What the browser that began a connection asked for."""

    email: str | None


def begin(connection: Connection, browser: str, email: str | None) -> str:
    """A new state for a browser; states of long ago are cleared away."""
    state = secrets.token_urlsafe(STATE_BYTES)
    now = func.clock_timestamp()
    connection.execute(delete(oauth_states).where(oauth_states.c.expires_at < now - FORGOTTEN_AFTER))
    connection.execute(
        insert(oauth_states).values(
            state_hash=_hash(state), browser_hash=_hash(browser), email=email, expires_at=now + LIFETIME
        )
    )
    return state


def redeem(connection: Connection, state: str, browser: str) -> Began | Ended:
    """Use a state up. Another browser's stays: whoever began may still finish."""
    ours = oauth_states.c.state_hash == _hash(state)
    row = connection.execute(
        delete(oauth_states)
        .where(ours, oauth_states.c.browser_hash == _hash(browser))
        .returning(oauth_states.c.email, (oauth_states.c.expires_at > func.clock_timestamp()).label("is_good"))
    ).first()
    if row is None:
        is_foreign = connection.execute(select(oauth_states.c.state_hash).where(ours)).first() is not None
        return Ended.FOREIGN if is_foreign else Ended.UNKNOWN
    return Began(row.email) if row.is_good else Ended.EXPIRED


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
