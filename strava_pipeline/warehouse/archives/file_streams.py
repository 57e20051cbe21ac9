"""Samples made of files: which file an activity's come from, and when they are void.

Samples that Strava's API told stay whatever files there are; an answer that there are none does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, select, tuple_, update

from strava_pipeline.streams import Streams
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.archives.sources import FileSource
from strava_pipeline.warehouse.schema.analysis_tables import ANALYSIS_TABLES, route_analyses
from strava_pipeline.warehouse.schema.archive_tables import recording_channels, recordings
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import StreamSource

Files = Mapping[int, Collection[FileSource]]
# The columns of ``activity_streams`` that hold samples.
STREAMS = tuple(
    field.name for field in fields(Streams) if field.name not in {"activity_id", "athlete_id", "point_count", "other"}
)
_a, _r, _s = activities.c, recordings.c, activity_streams.c


def shape_of() -> tuple[ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]]:
    """Start, length and distance for which a file of an activity is read; NULL where only the file tells of it."""
    start, elapsed, distance = (case((_a.id > 0, column)) for column in (_a.start_date, _a.elapsed_time, _a.distance))
    return start, elapsed, distance


def is_shaped_so() -> ColumnElement[bool]:
    """The condition that a recording was read for the activity as it is now."""
    start, elapsed, distance = shape_of()
    return and_(
        _r.shaped_start.is_not_distinct_from(start),
        _r.shaped_elapsed.is_not_distinct_from(elapsed),
        _r.shaped_distance.is_not_distinct_from(distance),
    )


def used_files(connection: Connection, files: Files) -> dict[int, int]:
    """Return by activity the recording of which its samples are to be made: the first that has some.

    Activities without such a file are left out, and so are those whose samples the API told.
    """
    if not files:
        return {}
    by_api = select(_s.activity_id).where(
        any_of(_s.activity_id, files), _s.source == StreamSource.API, _s.point_count > 0
    )
    with_samples = (
        select(_r.activity_id, _r.recording_id)
        .join(activities, _a.id == _r.activity_id)
        .where(any_of(_r.activity_id, files), _r.sample_count > 0, is_shaped_so(), _r.activity_id.not_in(by_api))
    )
    usable = {tuple(row) for row in connection.execute(with_samples)}
    found = {
        activity_id: [each.recording_id for each in ranked if (activity_id, each.recording_id) in usable]
        for activity_id, ranked in files.items()
    }
    return {activity_id: fitting[0] for activity_id, fitting in found.items() if fitting}


def drop_void(connection: Connection, activity_ids: Collection[int], files: Files) -> None:
    """Delete what was made of files that are not theirs any more, and samples that are to come from another file.

    So are those that were made for another start, length or distance. Call it once the activities' rows are stored.
    """
    rows = connection.execute(select(_r.activity_id, _r.recording_id).where(any_of(_r.activity_id, activity_ids))).all()
    stored = connection.execute(
        select(_s.activity_id, _s.recording_id).where(
            any_of(_s.activity_id, activity_ids), _s.source == StreamSource.FILE
        )
    ).all()
    if not rows and not stored:
        return
    theirs = {(activity_id, each.recording_id) for activity_id, ranked in files.items() for each in ranked}
    gone = [tuple(row) for row in rows if tuple(row) not in theirs]
    for table in (recordings, recording_channels) if gone else ():
        connection.execute(delete(table).where(tuple_(table.c.activity_id, table.c.recording_id).in_(gone)))
    used = used_files(connection, files)
    void = [row.activity_id for row in stored if used.get(row.activity_id) != row.recording_id]
    _drop_streams(connection, void)
    is_source = exists().where(_s.activity_id == _r.activity_id, _s.recording_id == _r.recording_id)
    among = any_of(_r.activity_id, activity_ids)
    connection.execute(update(recordings).where(among, _r.is_used, ~is_source).values(is_used=False))


def has_samples_of_file(connection: Connection, activity_id: int) -> bool:
    """Whether an activity's samples come from a file."""
    query = select(_s.activity_id).where(_s.activity_id == activity_id, _s.source == StreamSource.FILE)
    return connection.execute(query).first() is not None


def drop_figures(connection: Connection, activity_ids: Collection[int]) -> None:
    """Delete the figures of activities whose samples change: they may be stamped with the same time."""
    found = select(route_analyses.c.activity_id).where(any_of(route_analyses.c.activity_id, activity_ids)).limit(1)
    if connection.execute(found).first() is None:
        return  # the other tables hang on this one
    for table in ANALYSIS_TABLES:
        connection.execute(delete(table).where(any_of(table.c.activity_id, activity_ids)))


def _drop_streams(connection: Connection, activity_ids: Collection[int]) -> None:
    if not activity_ids:
        return
    in_lake = months_of_samples(connection, activity_ids)
    drop_figures(connection, activity_ids)
    connection.execute(delete(activity_streams).where(any_of(_s.activity_id, activity_ids)))
    mark_changed(connection, activity_ids)
    mark_outdated(connection, in_lake)
