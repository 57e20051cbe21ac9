"""The state of athletes' grants, with the generation of their tokens, but without the tokens."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, select

from strava_pipeline.strava.oauth import ACTIVITY_SCOPES
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState


@dataclass(frozen=True)
class Grant:
    """An athlete's grant; ``generation`` rises with each token pair, and when the tokens are erased."""

    state: GrantState
    generation: int


def grant_of(connection: Connection, athlete_id: int, *, lock: bool = False) -> Grant | None:
    """Return an athlete's grant; ``None`` for an athlete who never connected.

    With ``lock``, no other transaction stores tokens or data of the athlete before this one ends.
    """
    query = select(users.c.state, users.c.generation).where(users.c.athlete_id == athlete_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Grant(GrantState(row.state), row.generation)


def is_archive_only(connection: Connection, athlete_id: int) -> bool:
    """Whether all that is stored of an athlete was handed in: Strava is asked for nothing."""
    grant = grant_of(connection, athlete_id)
    return grant is not None and grant.state is GrantState.ARCHIVE_ONLY


def shows_activities() -> ColumnElement[bool]:
    """Select users who are connected and granted a permission to see activities."""
    return and_(users.c.state == GrantState.ACTIVE, users.c.scopes.overlap(sorted(ACTIVITY_SCOPES)))
