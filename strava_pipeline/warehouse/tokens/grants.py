"""Whether athletes still let us in, and by which generation of their tokens; these themselves stay in the store."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.states import GrantState


@dataclass(frozen=True)
class Grant:
    """An athlete's grant; ``generation`` rises with each token pair, and when the tokens are erased."""

    state: GrantState
    generation: int


def grant_of(connection: Connection, athlete_id: int, *, lock: bool = False) -> Grant | None:
    """Return an athlete's grant; ``None`` for one who never connected.

    ``lock``: nobody stores other tokens of the athlete, nor anything else that is theirs, before the transaction ends.
    """
    query = select(users.c.state, users.c.generation).where(users.c.athlete_id == athlete_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Grant(GrantState(row.state), row.generation)


def active_athletes(connection: Connection) -> list[int]:
    """Ids of everybody whose tokens are good as far as we know, in order."""
    query = select(users.c.athlete_id).where(users.c.state == GrantState.ACTIVE).order_by(users.c.athlete_id)
    return list(connection.execute(query).scalars())
