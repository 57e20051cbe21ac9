"""Connections under way: a state of 256 bits works once, for ten minutes, in the browser that began.

Only hashes are stored: who reads the table can finish nobody's connection. Strangers begin so many and no more: by each
link, whatever browsers they say they are.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from strava_pipeline.warehouse.schema.ops_tables import oauth_states

STATE_BYTES = 32
LIFETIME = timedelta(minutes=10)
# Until then one that has ended can be told from one that never was.
FORGOTTEN_AFTER = timedelta(days=1)
# Tabs that somebody may have open; an older one is forgotten.
MOST_OF_A_BROWSER = 10
# Threads that begin at the same moment may exceed it by their number.
MOST_OF_A_LINK = 100


class Ended(StrEnum):
    """Why a state that came back does not count."""

    UNKNOWN = "unknown"
    FOREIGN = "foreign"
    EXPIRED = "expired"


class TooManyOpen(Exception):
    """As many connections are under way by a link as may be; one ends after ten minutes at the latest."""


@dataclass(frozen=True)
class Began:
    """What the browser that began a connection asked for."""

    email: str | None


def begin(connection: Connection, browser: str, email: str | None, link: str | None) -> str:
    """A new state for a browser, by the link of this name or for the operator; ``TooManyOpen`` by the link.

    States of long ago are cleared away, and of a browser or a link those beyond its number, the oldest first.
    """
    state = secrets.token_urlsafe(STATE_BYTES)
    now = func.clock_timestamp()
    connection.execute(delete(oauth_states).where(oauth_states.c.expires_at < now - FORGOTTEN_AFTER))
    _keep_newest(connection, oauth_states.c.browser_hash == _hash(browser), MOST_OF_A_BROWSER - 1)
    if link is not None:
        of_link = oauth_states.c.link_hash == link
        is_open = oauth_states.c.expires_at > now
        if connection.execute(select(func.count()).where(of_link, is_open)).scalar_one() >= MOST_OF_A_LINK:
            raise TooManyOpen
        _keep_newest(connection, of_link, MOST_OF_A_LINK - 1)
    connection.execute(
        insert(oauth_states).values(
            state_hash=_hash(state),
            browser_hash=_hash(browser),
            email=email,
            expires_at=now + LIFETIME,
            link_hash=link,
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


def _keep_newest(connection: Connection, some: ColumnElement[bool], most: int) -> None:
    beyond = select(oauth_states.c.state_hash).where(some).order_by(oauth_states.c.expires_at.desc()).offset(most)
    connection.execute(delete(oauth_states).where(oauth_states.c.state_hash.in_(beyond)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
