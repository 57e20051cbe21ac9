"""The browser of somebody who was invited: it remembers the link, and its place on it once it has used one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import session
from sqlalchemy import Connection
from werkzeug.exceptions import Forbidden

from strava_pipeline.warehouse.athletes import invites
from strava_pipeline.warehouse.athletes.invites import Place
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.web.operator_door import invite_proof
from webhook_bridge.current import current_engine, current_settings
from webhook_bridge.sessions import session_id

USED_UP = (
    "As many have connected by this link as it was made for, it was tried too often, or you were disconnected since."
    " Ask whoever runs this for a new one."
)


def take_invite(secret: str) -> None:
    """Let the browser connect by a link as long as it has room, also after a mishap. ``Forbidden`` if it has none."""
    name = invites.name_of(secret)
    with autocommit(current_engine()) as connection:
        if not _has_room(connection, name):
            raise Forbidden(
                USED_UP
                if invites.is_known(connection, name, _proof())
                else "This link is too old, or not whole. Ask whoever runs this for a new one."
            )
    session_id()
    if session.get("invited_by") != name:
        session.pop("place", None)
    session["invited_by"] = name


def link_name() -> str | None:
    """What the link is called here that the browser came by, whether or not it is good still."""
    name = session.get("invited_by")
    return name if isinstance(name, str) else None


def is_invited() -> bool:
    """Whether the browser came by a link that it may still connect by."""
    name = link_name()
    if name is None:
        return False
    with autocommit(current_engine()) as connection:
        return _has_room(connection, name)


@contextmanager
def place_on_invite() -> Iterator[Place | None]:
    """The browser's place on its link for one connection, which nobody else gets meanwhile; ``None``: it has none."""
    name = link_name()
    if name is None:
        yield None
        return
    with invites.taken_place(current_engine(), name, _proof(), _own_place()) as place:
        yield place


def remember(place: Place) -> None:
    """The browser has connected by this place, and may do so again as the same athlete."""
    session["place"] = place.id


def _has_room(connection: Connection, name: str) -> bool:
    return invites.has_room(connection, name, _proof(), _own_place())


def _own_place() -> int | None:
    place = session.get("place")
    return place if isinstance(place, int) else None


def _proof() -> str:
    return invite_proof(current_settings())
