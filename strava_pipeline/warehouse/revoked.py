"""Refuses requests and rows of athletes who have disconnected, and answers to a grant that has ended since."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from strava_pipeline.errors import GrantChanged, NeedsReauthorization
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState


@dataclass(frozen=True)
class Grant:
    """What an athlete allowed at a time, and since when: each new consent is another grant."""

    granted_at: datetime | None
    scopes: frozenset[str]


def grant_of(connection: Connection, athlete_id: int) -> Grant | None:
    """Return the grant of now; ``None`` if the athlete never connected."""
    query = select(users.c.granted_at, users.c.scopes).where(users.c.athlete_id == athlete_id)
    row = connection.execute(query).first()
    return None if row is None else Grant(row.granted_at, frozenset(row.scopes))


def refuse_answer_to_other_grant(connection: Connection, athlete_id: int, grant: Grant | None) -> None:
    """Raise ``GrantChanged`` unless ``grant``, of the time when Strava was asked, is that of now.

    What a smaller grant did not show would be taken for deleted, and what an ended one showed would be stored.
    ``NeedsReauthorization`` if the athlete has disconnected.
    """
    refuse_rows_of_revoked(connection, [athlete_id])
    if grant_of(connection, athlete_id) != grant:
        raise GrantChanged(f"athlete {athlete_id} connected again while Strava was asked: it is asked anew")


def refuse_rows_of_revoked(connection: Connection, athlete_ids: Collection[int]) -> None:
    """Raise ``NeedsReauthorization`` if one of the athletes has disconnected; else keep all from being erased.

    The athletes cannot be erased until the transaction ends. This function takes the weakest lock on an athlete's row,
    an erasure the strongest: writes and refreshes do not wait for each other, an erasure waits for writes under way,
    and a write that waited for an erasure sees the new state.
    """
    if not athlete_ids:
        return
    for athlete_id, state in _states(connection, athlete_ids):
        _refuse(athlete_id, state)


def put_off_erasure(connection: Connection, athlete_id: int) -> None:
    """Keep an athlete from being erased until the transaction ends, which only deletes: whether connected or not."""
    _states(connection, [athlete_id])


def _states(connection: Connection, athlete_ids: Collection[int]) -> list[tuple[int, str]]:
    query = (
        select(users.c.athlete_id, users.c.state)
        .where(users.c.athlete_id.in_(athlete_ids))
        .order_by(users.c.athlete_id)
        .with_for_update(read=True, key_share=True)
    )
    return [(row.athlete_id, row.state) for row in connection.execute(query)]


def refuse_waiting_for_revoked(engine: Engine, athlete_id: int) -> None:
    """Raise ``NeedsReauthorization`` if the athlete has disconnected, so that a wait for them can end."""
    with autocommit(engine) as connection:
        state = connection.execute(select(users.c.state).where(users.c.athlete_id == athlete_id)).scalar()
    _refuse(athlete_id, state)


def _refuse(athlete_id: int, state: str | None) -> None:
    if state == GrantState.REVOKED:
        raise NeedsReauthorization(f"athlete {athlete_id} has disconnected: nothing more of theirs is stored")
