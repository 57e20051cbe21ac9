"""Deletes the rows of an athlete who is being erased, in batches for which nobody waits long.

A batch is one transaction: some activities with all that hangs on them, or some rows of a table. Each holds the
athlete's mark, so processes that are at it together take turns. A process may die after any batch; whoever goes on
begins at the first table, and finds there what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import stamina
from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, column, delete, literal_column, null, select, text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.athletes.erasure import delete_discarded_events, empty_events
from strava_pipeline.warehouse.athletes.owned_tables import ACTIVITY, OwnedTable, owned_tables
from strava_pipeline.warehouse.engine import plan_for_now
from strava_pipeline.warehouse.erasures import ErasureMark, add_deleted, hold_mark, take_mark_away
from strava_pipeline.warehouse.finished_rows import delete_counted
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline.warehouse.shared_segments import delete_segments_of_nobody, segments_ridden_in

# Activities of a batch. A batch that takes longer than BATCH_SECONDS is followed by a smaller one, on any machine.
FIRST_BATCH = 50
LARGEST_BATCH = 500
BATCH_SECONDS = 0.2
# Rows on which nothing hangs, for each activity of a batch.
ROWS_PER_ACTIVITY = 20
# A batch holds locks that others may want: it does not wait for theirs, but is tried again.
LOCK_MILLISECONDS = 500
ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.2

Step = Callable[[Connection, int, int], "_Batch"]


@dataclass(frozen=True)
class RowDeletion:
    """How many rows of the athlete are ``deleted`` since the decision, by whichever process; and whether all are."""

    deleted: int
    is_whole: bool


@dataclass(frozen=True)
class _Batch:
    """How many rows a batch deleted, and whether its step may have more."""

    rows: int
    may_have_more: bool


def delete_rows(engine: Engine, mark: ErasureMark, go_on: Callable[[], bool] = lambda: True) -> RowDeletion:
    """Delete a marked athlete's rows until none is left, another process ended the erasure, or ``go_on`` says no.

    ``DatabaseUnavailable`` if the database is away, or if somebody holds a row for longer than some seconds.
    """
    with engine.connect() as connection:
        steps = list(_steps(owned_tables(connection)))
    retrying = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=None, wait_initial=FIRST_WAIT_SECONDS)
    deleted, size = 0, FIRST_BATCH
    for step in steps:
        may_have_more = True
        while may_have_more:
            if not go_on():
                return RowDeletion(deleted, is_whole=False)
            began = time.monotonic()
            done = retrying(DatabaseUnavailable, _in_transaction, engine, mark, step, size)
            if done is None:
                return RowDeletion(deleted, is_whole=True)
            deleted, may_have_more = done
            size = _next_size(size, time.monotonic() - began)
    return RowDeletion(deleted, is_whole=True)


def end_erasure(engine: Engine, mark: ErasureMark, delete_files: Callable[[], None]) -> None:
    """Delete an athlete's files once no rows are left, take the mark away, and note in the audit what was deleted.

    The mark is held meanwhile, so that no files of an athlete who is back are deleted. Does nothing if another process
    has ended the erasure.
    """
    with engine.begin() as connection:
        if hold_mark(connection, mark) is None:
            return
        delete_files()
        ended = take_mark_away(connection, mark.athlete_id)
        subject, detail = f"athlete {mark.athlete_id}", f"{ended.deleted} rows deleted"
        note_action(connection, Actor(ended.actor), "erase", subject, detail=detail)


def _in_transaction(engine: Engine, mark: ErasureMark, step: Step, size: int) -> tuple[int, bool] | None:
    """Do one batch; return the rows deleted so far, and whether the step may have more. ``None``: the mark is gone."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
        plan_for_now(connection)
        before = hold_mark(connection, mark)
        if before is None:
            return None
        batch = step(connection, mark.athlete_id, size)
        add_deleted(connection, mark.athlete_id, batch.rows)
    return before + batch.rows, batch.may_have_more


def _next_size(size: int, seconds: float) -> int:
    """The size of the next batch, at most twice the last one's, so that it takes ``BATCH_SECONDS`` or less."""
    factor = min(2.0, BATCH_SECONDS / max(seconds, 0.001))
    return max(1, min(LARGEST_BATCH, int(size * factor)))


def _steps(owned: Sequence[OwnedTable]) -> Iterator[Step]:
    yield partial(_delete_activities, [each for each in owned if each.names_activity])
    hanging = [each for each in owned if each.names_activity and each.names_athlete]
    for each in owned:
        if each.is_searched_by_athlete:
            yield partial(_delete_owned, each, hanging if each.names_activity else ())
    yield _delete_profile
    yield _delete_discarded_events
    yield _empty_events


def _delete_activities(hanging: Sequence[OwnedTable], connection: Connection, athlete_id: int, size: int) -> _Batch:
    theirs = select(activities.c.id).where(activities.c.athlete_id == athlete_id)
    ids = sorted(connection.execute(theirs.order_by(activities.c.start_date).limit(size)).scalars())
    # A transaction that adds dependent rows holds the activity's row: it is waited for before anything is deleted.
    locked = select(activities.c.id).where(any_of(activities.c.id, ids))
    connection.execute(locked.order_by(activities.c.id).with_for_update())
    gone = delete(activities).where(any_of(activities.c.id, ids))
    rows = connection.execute(gone).rowcount + _delete_hanging(connection, hanging, athlete_id, ids)
    return _Batch(rows, len(ids) == size)


def _delete_owned(
    owned: OwnedTable, hanging: Sequence[OwnedTable], connection: Connection, athlete_id: int, size: int
) -> _Batch:
    """Delete rows of one table, and what hangs on activities that they name and that are not stored any more."""
    most = size if hanging else size * ROWS_PER_ACTIVITY
    place: ColumnElement[str] = literal_column("ctid")
    named = column(ACTIVITY, BigInteger) if hanging else null()
    some = select(place, named).select_from(owned.target).where(owned.of_athlete(athlete_id)).limit(most)
    # Locked first: a row that another process changes just now is waited for, and then found at its new place.
    found = connection.execute(some.with_for_update()).all()
    places = [row[0] for row in found]
    gone = text("ctid = ANY(CAST(:places AS tid[]))").bindparams(places=places)
    rows = delete_counted(connection, owned.target, gone)
    ids = sorted({row[1] for row in found if row[1] is not None})
    return _Batch(rows + _delete_hanging(connection, hanging, athlete_id, ids), len(found) == most)


def _delete_hanging(
    connection: Connection, hanging: Sequence[OwnedTable], athlete_id: int, activity_ids: list[int]
) -> int:
    """Delete an athlete's rows about these activities, and segments that nobody else has ridden; returns the rows."""
    if not activity_ids:
        return 0
    ridden = segments_ridden_in(connection, activity_ids)
    rows = 0
    for each in hanging:
        rows += delete_counted(connection, each.target, each.of_activities(athlete_id, activity_ids))
    delete_segments_of_nobody(connection, ridden)
    return rows


def _delete_profile(connection: Connection, athlete_id: int, _: int) -> _Batch:
    return _Batch(connection.execute(delete(athletes).where(athletes.c.id == athlete_id)).rowcount, False)


def _delete_discarded_events(connection: Connection, athlete_id: int, size: int) -> _Batch:
    most = size * ROWS_PER_ACTIVITY
    rows = delete_discarded_events(connection, athlete_id, most)
    return _Batch(rows, rows == most)


def _empty_events(connection: Connection, athlete_id: int, size: int) -> _Batch:
    most = size * ROWS_PER_ACTIVITY
    return _Batch(0, empty_events(connection, athlete_id, most) == most)
