"""Rebuilds the tables of activities from the stored raw answers, without a request.

Needed when the mapping changes: a column is new, or a field was read wrongly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, exists, or_, select, tuple_, update

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.activities.activity_store import store_parts
from strava_pipeline.warehouse.activities.answers import load_answers
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.merging import merge
from strava_pipeline.warehouse.bulk import store_changed
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import GrantState

BATCH = 200
Row = dict[str, Any]


@dataclass(frozen=True)
class Remapped:
    """One batch: the id of its last activity, how many were rebuilt, and, by id, why others do not map."""

    last_id: int
    rebuilt: int
    odd: dict[int, str]


_Merging = tuple[tuple[int, int], Remapped]


def remap(
    engine: Engine,
    *,
    before: datetime,
    athlete_id: int | None = None,
    batch: int = BATCH,
    kept: Kept = EVERYTHING,
) -> Iterator[Remapped]:
    """Rebuild every activity that was not re-mapped since ``before`` (UTC), each batch committed before the next.

    Called again with one ``before``, it goes on where it was interrupted. Rows that would not change are not written.
    An activity that does not map keeps its rows. At the end those are merged anew of which only archives and files
    tell. Athletes who have disconnected are left out, and so is what is not
    ``kept``.
    """
    after, again = 0, False
    while True:
        work = partial(_remap_batch, before=before, athlete_id=athlete_id, after=after, size=batch, kept=kept)
        try:
            done = retry_transaction(engine, work)
        except NeedsReauthorization:
            if again:
                raise
            again = True
            continue  # the next choice leaves out who has disconnected meanwhile
        again = False
        if done is None:
            break
        yield done
        after = done.last_id
    place = (0, -(2**63))
    while True:
        more = retry_transaction(engine, partial(_merge_next, athlete_id=athlete_id, after=place, size=batch))
        if more is None:
            return
        place, merged = more
        yield merged


def _remap_batch(
    connection: Connection, *, before: datetime, athlete_id: int | None, after: int, size: int, kept: Kept
) -> Remapped | None:
    ids = _next_ids(connection, before, athlete_id, after, size)
    if not ids:
        return None
    # Locked first: nobody stores or deletes these activities from here on, so the payloads read next are the newest.
    a = activities.c
    owners = _lock_owners(connection, ids)
    locked = select(a.id, a.fetched_at, a.start_date).where(any_of(a.id, ids))
    known = {row.id: row for row in connection.execute(locked.order_by(a.id).with_for_update())}
    found, odd = load_answers(connection, ids, lock=True)
    merged = {each: owners[each] for each in found if each in owners}
    rows = {activity_id: answers.row() for activity_id, answers in found.items() if activity_id not in merged}
    moved = [each for each in rows if each in known and rows[each]["start_date"] != known[each].start_date]
    mark_changed(connection, found)  # the months of before
    in_lake = months_of_samples(connection, moved)
    detailed = {activity_id: answers for activity_id, answers in found.items() if answers.detail is not None}
    for activity_ids in (rows.keys() & detailed.keys(), rows.keys() - detailed.keys()):
        # Two lots, since all rows of one call have the same columns.
        stamped = [rows[each] | {"fetched_at": known.get(each, found[each]).fetched_at} for each in activity_ids]
        store_changed(connection, activities, stamped)
    for activity_id, answers in detailed.items():
        if answers.detail is not None:
            rows_of_detail, asked_at = answers.detail
            store_parts(connection, activity_id, kept.of_detail(rows_of_detail), asked_at)
    mark_changed(connection, found)
    mark_outdated(connection, in_lake | months_of_samples(connection, moved))
    for owner in sorted(set(merged.values())):
        merge(connection, owner, [each for each in merged if merged[each] == owner])
    connection.execute(update(payloads).where(any_of(payloads.c.activity_id, found)).values(mapped_at=database_time()))
    return Remapped(ids[-1], len(found), odd)


def _lock_owners(connection: Connection, activity_ids: Collection[int]) -> dict[int, int]:
    """Lock the athletes of these activities; return them by those of which anything was handed in.

    What is being handed in is waited for, so activities are looked at once their athletes are locked.
    """
    a = activities.c
    ours = select(a.athlete_id).where(any_of(a.id, activity_ids)).distinct().order_by(a.athlete_id)
    for owner in connection.execute(ours).scalars().all():
        lock_activities(connection, owner)
    handed_in = or_(a.archive_taken_at.is_not(None), a.file_taken_at.is_not(None))
    query = select(a.id, a.athlete_id).where(any_of(a.id, activity_ids), handed_in)
    return {row.id: row.athlete_id for row in connection.execute(query)}


def _merge_next(
    connection: Connection, *, athlete_id: int | None, after: tuple[int, int], size: int
) -> _Merging | None:
    """Merge the next activities of which only archives and files tell; ``None`` if there are no more."""
    a = activities.c
    gone = exists().where(users.c.athlete_id == a.athlete_id, users.c.state == GrantState.REVOKED)
    query = select(a.athlete_id, a.id).where(~a.told_by_api, ~gone, tuple_(a.athlete_id, a.id) > after)
    if athlete_id is not None:
        query = query.where(a.athlete_id == athlete_id)
    found = connection.execute(query.order_by(a.athlete_id, a.id).limit(size)).all()
    if not found:
        return None
    owner = found[0].athlete_id
    theirs = [row.id for row in found if row.athlete_id == owner]
    merge(connection, owner, theirs)
    return (owner, theirs[-1]), Remapped(theirs[-1], len(theirs), {})


def _next_ids(connection: Connection, before: datetime, athlete_id: int | None, after: int, size: int) -> list[int]:
    is_old = or_(payloads.c.mapped_at.is_(None), payloads.c.mapped_at < before)
    gone = exists().where(users.c.athlete_id == payloads.c.athlete_id, users.c.state == GrantState.REVOKED)
    query = (
        select(payloads.c.activity_id)
        .where(payloads.c.activity_id > after, is_old, ~gone)
        .distinct()
        .order_by(payloads.c.activity_id)
        .limit(size)
    )
    if athlete_id is not None:
        query = query.where(payloads.c.athlete_id == athlete_id)
    return list(connection.execute(query).scalars())
