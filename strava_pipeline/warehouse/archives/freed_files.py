"""Decides anew about files that were left to another athlete who had handed in the same, once that one's are gone.

A file of two athletes is an activity of the one who had it first, since its id follows from its bytes. When that
activity goes, by an erasure, an undo, or because Strava tells of the ride, nobody looks at the other athlete's file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, exists, select

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.archives.assigning import OF_ANOTHER
from strava_pipeline.warehouse.archives.merging import merge
from strava_pipeline.warehouse.archives.recordings import waits_to_be_read
from strava_pipeline.warehouse.engine import autocommit, retry_transaction
from strava_pipeline.warehouse.schema.archive_tables import archive_files
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import GrantState

_f, _a = archive_files.c, activities.c
# Activities that are merged in one transaction.
_BATCH = 200


def decide_freed_files(engine: Engine, go_on: Callable[[], bool] = lambda: True) -> int:
    """Let files that were another athlete's activity become one of their own athlete's; return how many are.

    Athletes who have disconnected are left out. Their samples are read later, see :func:`unread_of_files`. Without
    ``go_on`` it stops between two batches; the rest waits for the next call.
    """
    decided = 0
    with autocommit(engine) as connection:
        freed = _freed(connection)
    for athlete_id, ids in freed.items():
        with suppress(NeedsReauthorization):  # has disconnected meanwhile
            for at in range(0, len(ids), _BATCH):
                if not go_on():
                    return decided
                merging = partial(merge, athlete_id=athlete_id, activity_ids=ids[at : at + _BATCH])
                decided += len(retry_transaction(engine, merging).activity_ids)
    return decided


def unread_of_files(connection: Connection) -> dict[int, list[int]]:
    """Return by athlete the activities that only files tell of, and whose file was not read so far."""
    query = select(_a.athlete_id, _a.id).where(_a.id < 0, waits_to_be_read(), ~_has_left(_a.athlete_id))
    return _by_athlete(connection.execute(query.order_by(_a.athlete_id, _a.id)).all())


def _freed(connection: Connection) -> dict[int, list[int]]:
    """By athlete the ids that their files' activities would have."""
    is_anothers = exists().where(_a.id == -_f.recording_id, _a.athlete_id != _f.athlete_id)
    query = select(_f.athlete_id, -_f.recording_id).where(
        _f.doubt == OF_ANOTHER, _f.activity_id.is_(None), _f.fault.is_(None), ~is_anothers, ~_has_left(_f.athlete_id)
    )
    return _by_athlete(connection.execute(query.distinct().order_by(_f.athlete_id, -_f.recording_id)).all())


def _has_left(athlete_id: ColumnElement[int]) -> ColumnElement[bool]:
    return exists().where(users.c.athlete_id == athlete_id, users.c.state == GrantState.REVOKED)


def _by_athlete(rows: Iterable[Any]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for athlete_id, activity_id in rows:
        found.setdefault(athlete_id, []).append(activity_id)
    return found
