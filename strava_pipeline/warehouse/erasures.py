"""Marks athletes whose data are being deleted, from the decision until nothing is left.

Nobody takes a mark back. While it stands the athlete cannot connect again, so whatever is deleted under it is old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.warehouse.schema.grant_tables import erasures

_c = erasures.c


@dataclass(frozen=True)
class ErasureMark:
    """The mark of one decision, made at ``begun_at`` (UTC): an athlete who came back and left again has another one."""

    athlete_id: int
    begun_at: datetime


@dataclass(frozen=True)
class EndedErasure:
    """Who ordered an erasure that has ended, and how many rows it ``deleted``."""

    actor: str
    deleted: int


def mark_for_erasure(connection: Connection, athlete_id: int, actor: str) -> None:
    """Mark an athlete, unless that was done before. The caller holds the athlete's row in ``ops.users``."""
    connection.execute(insert(erasures).values(athlete_id=athlete_id, actor=actor).on_conflict_do_nothing())


def is_being_erased(connection: Connection, athlete_id: int) -> bool:
    """Whether an athlete is marked."""
    return bool(connection.execute(select(exists().where(_c.athlete_id == athlete_id))).scalar())


def mark_of(connection: Connection, athlete_id: int) -> ErasureMark | None:
    """Return an athlete's mark; ``None`` without one."""
    found = connection.execute(select(_c.begun_at).where(_c.athlete_id == athlete_id)).scalar()
    return None if found is None else ErasureMark(athlete_id, found)


def athletes_being_erased(connection: Connection) -> list[int]:
    """Return the ids of the marked athletes, those first who have waited longest."""
    return list(connection.execute(select(_c.athlete_id).order_by(_c.begun_at, _c.athlete_id)).scalars())


def hold_mark(connection: Connection, mark: ErasureMark) -> int | None:
    """Keep other processes from deleting or ending until the transaction ends; return the rows deleted so far.

    ``None`` if there is no such mark: another process has ended the erasure.
    """
    query = select(_c.deleted).where(_c.athlete_id == mark.athlete_id, _c.begun_at == mark.begun_at)
    return connection.execute(query.with_for_update()).scalar()


def add_deleted(connection: Connection, athlete_id: int, rows: int) -> None:
    """Note that so many more rows are deleted, if any. The caller holds the mark."""
    if not rows:
        return
    connection.execute(update(erasures).where(_c.athlete_id == athlete_id).values(deleted=_c.deleted + rows))


def take_mark_away(connection: Connection, athlete_id: int) -> EndedErasure:
    """Delete the mark, because nothing is left. The caller holds it."""
    ending = delete(erasures).where(_c.athlete_id == athlete_id).returning(_c.actor, _c.deleted)
    row = connection.execute(ending).one()
    return EndedErasure(row.actor, row.deleted)
