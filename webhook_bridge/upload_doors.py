"""The two ways to upload: the operator's page, and the link that the operator made for one athlete.

A link holds a secret, whose hash is stored, and a signature: a link that is incomplete or made up is refused without a
query. It permits to upload for its athlete, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from werkzeug.exceptions import Forbidden, Gone

from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.uploads import links
from strava_pipeline.web.operator_door import invite_proof
from strava_pipeline.web.upload_link import read_upload_link
from webhook_bridge.current import current_bridge
from webhook_bridge.operator_session import is_operator

LINK_ENDED = "This link has ended, was canceled, or is incomplete. Ask the operator for a new one."


@dataclass(frozen=True)
class Door:
    """Permits to upload for one athlete; ``link_id``: by a link, until ``ends_at`` (UTC); ``None``: by the operator."""

    athlete_id: int
    link_id: int | None = None
    ends_at: datetime | None = None


def door_of_link(given: str) -> Door:
    """The door that a link opens. ``Gone`` if it opens none."""
    secret = read_upload_link(current_bridge().keyring, given)
    if secret is None:
        raise Gone(LINK_ENDED)
    with autocommit(current_bridge().engine) as connection:
        link = links.find_link(connection, secret, _proof())
    if link is None:
        raise Gone(LINK_ENDED)
    return Door(link.athlete_id, link.id, link.expires_at)


def check_still_open(connection: Connection, athlete_id: int, link_id: int | None) -> None:
    """Check that a door is still open: ``Forbidden`` if the operator is logged out, ``Gone`` if the link has ended."""
    if link_id is None:
        if not is_operator():
            raise Forbidden("You are not logged in any more: load the page again.")
        return
    link = links.living_link(connection, link_id, _proof())
    if link is None or link.athlete_id != athlete_id:
        raise Gone(LINK_ENDED)


def _proof() -> str:
    return invite_proof(current_bridge().settings)
