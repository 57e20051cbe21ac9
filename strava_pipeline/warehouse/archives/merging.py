"""Derives the analysts' rows of activities from all that tells of them: Strava's API, archives and files.

Whoever stores or deletes something that tells of activities has them merged in the same transaction. What is derived is
a function of what is stored (answers, rows of archives, files), so the order in which it came does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select, update

from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.activities.tombstones import gone_for_good, lock_activities
from strava_pipeline.warehouse.archives.assigning import Period, assign_files, period_of
from strava_pipeline.warehouse.archives.file_laps import store_file_laps
from strava_pipeline.warehouse.archives.file_streams import drop_figures, drop_void
from strava_pipeline.warehouse.archives.files import delete_bytes_of_nobody
from strava_pipeline.warehouse.archives.imports import has_handed_in
from strava_pipeline.warehouse.archives.local_times import Unsettled, settle_local_times
from strava_pipeline.warehouse.archives.merged_rows import figures_row, merged_row
from strava_pipeline.warehouse.archives.sources import Sources, load_sources
from strava_pipeline.warehouse.archives.words import load_learned_words, of_another_sport_by_now
from strava_pipeline.warehouse.bulk import store_plainly
from strava_pipeline.warehouse.engine import plan_for_now
from strava_pipeline.warehouse.revoked import put_off_erasure, refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import archive_figures, archive_files, archive_rows
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import (
    activities,
    activity_streams,
    best_efforts,
    laps,
    photos,
    segment_efforts,
    splits,
)
from strava_pipeline.warehouse.shared_segments import delete_segments_of_nobody, segments_ridden_in
from strava_pipeline.warehouse.states import StreamSource

Row = dict[str, Any]
# Tables whose rows come by the API, or by a file as well.
TOLD_BY_API = (laps, splits, best_efforts, segment_efforts, photos, activity_streams, payloads, put_aside)
_a, _f, _r = activities.c, archive_files.c, archive_rows.c


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What became of activities that were merged, by their ids.

    ``activity_ids``: those that are stored. ``changed``: those whose row changed. ``deleted``: those of which nothing
    tells any more. ``refused``: those that were deleted at Strava. ``moved``: activities of a file that are one with
    Strava's by now, and with which.
    """

    activity_ids: frozenset[int] = frozenset()
    changed: frozenset[int] = frozenset()
    deleted: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    moved: Mapping[int, int] = field(default_factory=dict)


def merge(
    connection: Connection, athlete_id: int, activity_ids: Collection[int], *, around: Period | None = None
) -> Merged:
    """Derive the rows of an athlete's activities anew, with those of all whose files change their activity with it.

    ``around``: where other activities have gone, which files may have been like.

    Files that nobody has looked at so far are assigned to activities, so the caller of :func:`.files.store_file` need
    not know of which. ``NeedsReauthorization`` if the athlete has disconnected.
    """
    lock_activities(connection, athlete_id)
    refuse_rows_of_revoked(connection, [athlete_id])
    merged, _ = _merge(connection, athlete_id, activity_ids, around)
    _settle(connection, athlete_id)
    return merged


def merge_handed_in(connection: Connection, athlete_id: int, activity_ids: Collection[int]) -> Merged:
    """Do as :func:`merge` where the transaction has changed nothing but what was handed in: rows of archives, files.

    So it is known which activities may take something from these, and no others are looked at: a long history is
    merged part by part, each in the same time.
    """
    lock_activities(connection, athlete_id)
    refuse_rows_of_revoked(connection, [athlete_id])
    merged, derived = _merge(connection, athlete_id, activity_ids)
    if derived.may_teach:
        _settle_words(connection, athlete_id)
    settle_local_times(connection, athlete_id, derived.unsettled)
    return merged


def _merge(
    connection: Connection, athlete_id: int, activity_ids: Collection[int], around: Period | None = None
) -> tuple[Merged, _Derived]:
    plan_for_now(connection)
    refused = _refuse_deleted(connection, activity_ids)
    assigned = assign_files(connection, athlete_id, activity_ids, around)
    touched = set(activity_ids) | assigned.touched
    derived = _derive(connection, athlete_id, touched)
    merged = Merged(
        activity_ids=frozenset(derived.stored),
        changed=frozenset(derived.changed),
        deleted=frozenset(derived.deleted),
        refused=frozenset(refused),
        moved=assigned.moved,
    )
    return merged, derived


def merge_told(
    connection: Connection, athlete_id: int, activity_ids: Collection[int], *, around: Period | None = None
) -> None:
    """Do as :func:`merge` once Strava's API has told of activities, for athletes of whom anything was handed in."""
    if (activity_ids or around) and has_handed_in(connection, athlete_id):
        merge(connection, athlete_id, activity_ids, around=around)


def delete_for_good(connection: Connection, athlete_id: int, activity_ids: Collection[int]) -> dict[str, int]:
    """Delete activities that their athlete deleted, with whatever was handed in of them; the rows deleted, by table."""
    around = period_of(connection, activity_ids)
    files = _drop_handed_in(connection, activity_ids)
    deleted = delete_activities(connection, activity_ids)
    delete_bytes_of_nobody(connection, files)
    if has_handed_in(connection, athlete_id):
        _lock(connection, athlete_id)
        _merge(connection, athlete_id, [], around)
        _settle(connection, athlete_id, forgotten=True)
    return deleted


def forget_answers(connection: Connection, athlete_id: int, activity_ids: Collection[int]) -> dict[str, int]:
    """Delete what Strava's API told of activities, which become what archives and files tell; the rows, by table."""
    if not activity_ids:
        return {}
    in_lake = months_of_samples(connection, activity_ids)
    ridden = segments_ridden_in(connection, activity_ids)
    mark_changed(connection, activity_ids)
    by_api = activity_streams.c.source == StreamSource.API
    streams = select(activity_streams.c.activity_id).where(any_of(activity_streams.c.activity_id, activity_ids), by_api)
    drop_figures(connection, connection.execute(streams).scalars().all())
    by_table = {table: any_of(table.c.activity_id, activity_ids) for table in TOLD_BY_API}
    by_table[activity_streams] = and_(by_table[activity_streams], by_api)
    deleted = {
        table.fullname: connection.execute(delete(table).where(theirs)).rowcount for table, theirs in by_table.items()
    }
    connection.execute(update(activities).where(any_of(_a.id, activity_ids)).values(told_by_api=False))
    mark_outdated(connection, in_lake)
    delete_segments_of_nobody(connection, ridden)
    _lock(connection, athlete_id)
    _merge(connection, athlete_id, activity_ids)
    _settle(connection, athlete_id, forgotten=True)
    return deleted


def settle(connection: Connection, athlete_id: int) -> None:
    """Correct whatever activities take from each other (local times, words for sports), after some are gone."""
    lock_activities(connection, athlete_id)
    _settle(connection, athlete_id, forgotten=True)


def _lock(connection: Connection, athlete_id: int) -> None:
    """Lock for a merge that only takes something away, so that whoever has disconnected is not refused."""
    lock_activities(connection, athlete_id)
    put_off_erasure(connection, athlete_id)


def _refuse_deleted(connection: Connection, activity_ids: Collection[int]) -> set[int]:
    """Drop what was handed in of activities that were deleted at Strava; return their ids."""
    gone = gone_for_good(connection, activity_ids)
    if gone:
        delete_bytes_of_nobody(connection, _drop_handed_in(connection, gone))
    return gone


def _drop_handed_in(connection: Connection, activity_ids: Collection[int]) -> set[tuple[int, int]]:
    """Delete rows and files of archives about these activities; return athlete and recording of the files."""
    connection.execute(delete(archive_rows).where(any_of(_r.activity_id, activity_ids)))
    theirs = or_(any_of(_f.activity_id, activity_ids), any_of(_f.row_id, activity_ids))
    dropping = delete(archive_files).where(theirs).returning(_f.athlete_id, _f.recording_id)
    return {(row.athlete_id, row.recording_id) for row in connection.execute(dropping)}


def _settle(connection: Connection, athlete_id: int, *, forgotten: bool = False) -> None:
    _settle_words(connection, athlete_id, forgotten=forgotten)
    settle_local_times(connection, athlete_id)


def _settle_words(connection: Connection, athlete_id: int, *, forgotten: bool = False) -> None:
    learned = load_learned_words(connection, athlete_id)
    if learned or forgotten:
        others = of_another_sport_by_now(connection, athlete_id, learned, forgotten=forgotten)
        _derive(connection, athlete_id, others)


@dataclass(frozen=True, kw_only=True)
class _Derived:
    """The ids of activities whose rows are stored, have changed, and were deleted, and what others take from them.

    ``may_teach``: Strava's API tells of some, so words for sports may mean something else by now.
    """

    stored: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    unsettled: Unsettled = field(default_factory=Unsettled)
    may_teach: bool = False


def _derive(connection: Connection, athlete_id: int, activity_ids: Collection[int]) -> _Derived:
    """Store the rows that follow from the sources."""
    if not activity_ids:
        return _Derived()
    # A transaction that adds dependent rows holds the activity's row: it is waited for before anything is decided.
    stored_rows = select(activities).where(any_of(_a.id, activity_ids)).order_by(_a.id).with_for_update()
    before = {row["id"]: dict(row) for row in connection.execute(stored_rows).mappings()}
    # The same file may be another athlete's activity.
    foreign = {each for each, row in before.items() if row["athlete_id"] != athlete_id}
    before = {each: row for each, row in before.items() if each not in foreign}
    activity_ids = set(activity_ids) - foreign
    sources = load_sources(connection, activity_ids)
    has_unknown_words = any(of.taken is not None and of.taken.row.sport is None for of in sources.values())
    learned = load_learned_words(connection, athlete_id) if has_unknown_words else {}
    rows: dict[int, Row] = {}
    deleted = set()
    for activity_id, of in sources.items():
        stored = before.get(activity_id)
        if of.is_odd:
            continue
        api = _told_by_api(of, stored)
        if api is None and not of.is_handed_in:
            deleted |= {activity_id} & before.keys()
        elif of.is_handed_in or _was_merged(stored):
            row = merged_row(athlete_id, activity_id, of, api, learned)
            if row["start_date"] is not None:
                rows[activity_id] = _with_assumed_time(row, stored)
    changed = _store(connection, rows, before)
    delete_activities(connection, deleted)
    _store_figures(connection, athlete_id, {each: sources[each] for each in activity_ids if each not in deleted})
    kept = set(activity_ids) - deleted
    drop_void(connection, kept, {each: sources[each].files for each in kept if sources[each].files})
    store_file_laps(connection, kept)
    after: dict[int, Row | None] = {each: rows[each] for each in changed} | dict.fromkeys(deleted)
    return _Derived(
        stored=(before.keys() | rows.keys()) - deleted,
        changed=changed,
        deleted=deleted,
        unsettled=Unsettled.of(before, after),
        may_teach=any(of.answers is not None or of.is_odd for of in sources.values()),
    )


def _told_by_api(sources: Sources, stored: Row | None) -> Row | None:
    """The row as Strava's API tells it; ``None`` if it tells nothing."""
    known = stored if stored is not None and stored["told_by_api"] else None
    if sources.answers is None:
        return known  # stored before answers were kept
    asked_at = sources.answers.fetched_at if known is None else max(sources.answers.fetched_at, known["fetched_at"])
    return sources.answers.row() | {"fetched_at": asked_at}


def _was_merged(stored: Row | None) -> bool:
    return stored is not None and (
        not stored["told_by_api"] or stored["archive_taken_at"] is not None or stored["file_taken_at"] is not None
    )


def _with_assumed_time(row: Row, stored: Row | None) -> Row:
    """The row with the local time that was assumed so far, so that it is not written twice."""
    if row["offset_assumed"] and stored is not None and stored["offset_assumed"]:
        same_start = row["start_date"] == stored["start_date"]
        return row | ({name: stored[name] for name in ("utc_offset", "start_date_local")} if same_start else {})
    return row


def _store(connection: Connection, rows: Mapping[int, Row], before: Mapping[int, Row]) -> set[int]:
    """Store rows that changed, and mark their months; return their ids."""
    changed = {activity_id: row for activity_id, row in rows.items() if before.get(activity_id) != row}
    moved = {
        activity_id
        for activity_id, row in changed.items()
        if activity_id in before and before[activity_id]["start_date"] != row["start_date"]
    }
    recorded_anew = moved | {
        activity_id
        for activity_id, row in changed.items()
        if activity_id in before and before[activity_id]["elapsed_time"] != row["elapsed_time"]
    }
    mark_changed(connection, changed)
    in_lake = months_of_samples(connection, moved)
    if recorded_anew:
        drop_figures(connection, recorded_anew)
    store_plainly(connection, activities, list(changed.values()))
    mark_changed(connection, changed)
    mark_outdated(connection, in_lake | months_of_samples(connection, moved))
    return set(changed)


def _store_figures(connection: Connection, athlete_id: int, sources: Mapping[int, Sources]) -> None:
    """Store what only archives tell of these activities, and delete it where none tells any more."""
    rows = [
        figures_row(athlete_id, activity_id, of.taken) for activity_id, of in sources.items() if of.taken is not None
    ]
    told = {row["activity_id"] for row in rows}
    gone = [activity_id for activity_id in sources if activity_id not in told]
    connection.execute(delete(archive_figures).where(any_of(archive_figures.c.activity_id, gone)))
    store_plainly(connection, archive_figures, [_as_text(row) for row in rows])


def _as_text(row: Row) -> Row:
    unknown = row["unknown"]
    return row | {"unknown": None if unknown is None else json.dumps(unknown, sort_keys=True)}
