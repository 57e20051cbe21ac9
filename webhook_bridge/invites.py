"""The browser of somebody who was invited: it remembers the link, and its place on it once it has used one.

A link holds a secret, whose hash is stored, and is signed: one that is cut short, or made up, is refused without a look
into the database. Links of the older form, which hold nothing but the secret, are good until their week is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import session
from itsdangerous import BadSignature
from sqlalchemy import Connection
from werkzeug.exceptions import Forbidden

from strava_pipeline.keyring import KeyPurpose
from strava_pipeline.warehouse.athletes import invites
from strava_pipeline.warehouse.athletes.invites import InvitePlace
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.web.operator_door import invite_proof
from webhook_bridge.current import current_bridge
from webhook_bridge.sessions import session_id

USED_UP = (
    "As many have connected by this link as it was made for, it was tried too often, or you were disconnected since."
    " Ask whoever runs this for a new one."
)
NOT_GOOD = "This link is too old, or not whole. Ask whoever runs this for a new one."
# Between the secret and the signature; no secret holds one.
_SIGNED = "."


def signed_invite(secret: str) -> str:
    """What stands in a link for a new invitation."""
    return current_bridge().keyring.signer(KeyPurpose.INVITE_LINK).sign(secret).decode()


def take_invite(given: str) -> None:
    """Let the browser connect by a link as long as it has room, also after a mishap. ``Forbidden`` if it has none."""
    name = invites.name_of(_secret_in(given))
    with autocommit(current_bridge().engine) as connection:
        if not _has_room(connection, name):
            raise Forbidden(USED_UP if invites.is_known(connection, name, _proof()) else NOT_GOOD)
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
    with autocommit(current_bridge().engine) as connection:
        return _has_room(connection, name)


@contextmanager
def place_on_invite() -> Iterator[InvitePlace | None]:
    """The browser's place on its link for one connection, which nobody else gets meanwhile; ``None``: it has none."""
    name = link_name()
    if name is None:
        yield None
        return
    with invites.reserve_place(current_bridge().engine, name, _proof(), _own_place()) as place:
        yield place


def remember(place: InvitePlace) -> None:
    """The browser has connected by this place, and may do so again as the same athlete."""
    session["place"] = place.id


def _secret_in(given: str) -> str:
    """The secret in a link; ``Forbidden`` if it was not signed here."""
    if _SIGNED not in given:
        return given
    try:
        return (
            current_bridge()
            .keyring.signer(KeyPurpose.INVITE_LINK)
            .unsign(given.encode("utf-8", "surrogatepass"))
            .decode()
        )
    except BadSignature:
        raise Forbidden(NOT_GOOD) from None


def _has_room(connection: Connection, name: str) -> bool:
    return invites.has_room(connection, name, _proof(), _own_place())


def _own_place() -> int | None:
    place = session.get("place")
    return place if isinstance(place, int) else None


def _proof() -> str:
    return invite_proof(current_bridge().settings)
