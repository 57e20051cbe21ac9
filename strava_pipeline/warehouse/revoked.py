"""The fence around an athlete who has disconnected: nothing of theirs is asked for or stored any more."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Engine, select

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.states import GrantState


def refuse_rows_of_revoked(connection: Connection, athlete_ids: Collection[int]) -> None:
    """``NeedsReauthorization`` if one of them has disconnected; else none is erased before the transaction ends.

    The erasure takes the strongest lock on the athlete's row, this the weakest: writes and refreshes do not wait for
    each other, an erasure waits for the writes under way, and a write that waited for an erasure sees it.
    """
    if not athlete_ids:
        return
    query = (
        select(users.c.athlete_id, users.c.state)
        .where(users.c.athlete_id.in_(athlete_ids))
        .order_by(users.c.athlete_id)
        .with_for_update(read=True, key_share=True)
    )
    for athlete_id, state in connection.execute(query).all():
        _refuse(athlete_id, state)


def refuse_waiting_for_revoked(engine: Engine, athlete_id: int) -> None:
    """``NeedsReauthorization`` if there is nothing left to wait for: the athlete has disconnected meanwhile."""
    with autocommit(engine) as connection:
        state = connection.execute(select(users.c.state).where(users.c.athlete_id == athlete_id)).scalar()
    _refuse(athlete_id, state)


def _refuse(athlete_id: int, state: str | None) -> None:
    if state == GrantState.REVOKED:
        raise NeedsReauthorization(f"athlete {athlete_id} has disconnected: nothing more of theirs is stored")
