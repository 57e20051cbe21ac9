"""Invitation links in a guest's browser session: the link, and the guest's place on it once one is used.

A link holds a secret, whose hash is stored, and a signature: a link that is incomplete or made up is refused without a
query. Links of the older form, which hold the secret alone, are good until their week is over.
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
    " Ask the operator for a new one."
)
NOT_GOOD = "This link is too old or incomplete. Ask the operator for a new one."
# Stands between the secret and the signature; no secret holds this character.
_SIGNED = "."


def signed_invite(secret: str) -> str:
    """The signed secret, as a link for a new invitation holds it."""
    return current_bridge().keyring.signer(KeyPurpose.INVITE_LINK).sign(secret).decode()


def take_invite(given: str) -> None:
    """Keep a link in the browser's session, to connect by it. ``Forbidden`` if it is invalid or has no free place."""
    name = invites.name_of(_secret_in(given))
    with autocommit(current_bridge().engine) as connection:
        if not _has_room(connection, name):
            raise Forbidden(USED_UP if invites.is_known(connection, name, _proof()) else NOT_GOOD)
    _keep(name)


def take_own_invite(secret: str, athlete_id: int) -> None:
    """Keep a link by which this athlete alone may connect, in the browser's session; ``secret`` is part of no link."""
    with current_bridge().engine.begin() as connection:
        name = invites.open_own_invite(connection, _proof(), secret, athlete_id)
    _keep(name)


def _keep(name: str) -> None:
    session_id()
    if session.get("invited_by") != name:
        session.pop("place", None)
    session["invited_by"] = name


def link_name() -> str | None:
    """The name of the link that the browser came by, still good or not; ``None`` if it came by none."""
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
    """Reserve the browser's place on its link while the block runs; yields ``None`` if there is no place."""
    name = link_name()
    if name is None:
        yield None
        return
    with invites.reserve_place(current_bridge().engine, name, _proof(), _own_place()) as place:
        yield place


def remember(place: InvitePlace) -> None:
    """Keep the place in the session: the browser has connected by it, and its athlete may connect by it again."""
    session["place"] = place.id


def _secret_in(given: str) -> str:
    """The secret in a link; ``Forbidden`` if the signature is not ours."""
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
