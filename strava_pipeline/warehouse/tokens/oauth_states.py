"""OAuth states of connections under way: each works once, for ten minutes, in the browser that began the connection.

A state has 256 random bits. Only hashes are stored, so a reader of the table cannot finish a connection. Open states
are limited per link, because a stranger can pretend to be any number of browsers.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from strava_pipeline.warehouse.schema.access_tables import oauth_states
from strava_pipeline.warehouse.schema.columns import database_time

STATE_BYTES = 32
LIFETIME = timedelta(minutes=10)
# For at most this long, a state that has expired is still told apart from one that never existed.
FORGOTTEN_AFTER = timedelta(days=1)
# States of one browser, one per open tab; older ones are deleted.
MOST_OF_A_BROWSER = 10
# Connections that begin at the same moment may exceed this limit by their number.
MOST_OF_A_LINK = 100


class Ended(StrEnum):
    """Why a returned state is not accepted; ``FOREIGN``: another browser began it."""

    UNKNOWN = "unknown"
    FOREIGN = "foreign"
    EXPIRED = "expired"


class TooManyOpen(Exception):
    """A link has its maximum number of connections under way; each ends after ten minutes at the latest."""


@dataclass(frozen=True)
class Began:
    """A connection under way, with the address that the browser gave, if any."""

    email: str | None


def begin(connection: Connection, browser: str, email: str | None, link: str | None) -> str:
    """Store a new state for a browser and return it. ``link``: the invitation's name, ``None`` for the operator.

    ``TooManyOpen`` if the link has ``MOST_OF_A_LINK`` open states. States that expired more than ``FORGOTTEN_AFTER``
    ago are deleted, and the oldest states of the browser and of the link beyond their limits.
    """
    state = secrets.token_urlsafe(STATE_BYTES)
    now = database_time()
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
    """Use up a state of this browser; return what it began, or why the state is not accepted.

    A state of another browser stays, so that the other browser may still finish.
    """
    ours = oauth_states.c.state_hash == _hash(state)
    row = connection.execute(
        delete(oauth_states)
        .where(ours, oauth_states.c.browser_hash == _hash(browser))
        .returning(oauth_states.c.email, (oauth_states.c.expires_at > database_time()).label("is_good"))
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
