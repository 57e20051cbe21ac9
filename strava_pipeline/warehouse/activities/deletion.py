"""Deletes activities with all that hangs on them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, select

from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.archives.files import delete_bytes_of_nobody
from strava_pipeline.warehouse.schema.analysis_tables import ANALYSIS_TABLES
from strava_pipeline.warehouse.schema.archive_tables import (
    archive_figures,
    archive_files,
    archive_rows,
    recording_bytes,
    recording_channels,
    recordings,
)
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

DEPENDENT_TABLES = (
    laps,
    splits,
    best_efforts,
    segment_efforts,
    photos,
    activity_streams,
    *ANALYSIS_TABLES,
    payloads,
    put_aside,
    archive_rows,
    archive_files,
    archive_figures,
    recordings,
    recording_channels,
)


def delete_activities(connection: Connection, activity_ids: Collection[int]) -> dict[str, int]:
    """Delete activities with all dependent rows, and the segments that nobody else has ridden.

    Returns the number of deleted rows by table, without segments.
    """
    if not activity_ids:
        return {}
    # A transaction that adds dependent rows holds the activity's row: it is waited for before anything is deleted.
    theirs = select(activities.c.id).where(any_of(activities.c.id, activity_ids)).order_by(activities.c.id)
    connection.execute(theirs.with_for_update())
    in_lake = months_of_samples(connection, activity_ids)
    ridden = segments_ridden_in(connection, activity_ids)
    mark_changed(connection, activity_ids)
    files = _files_of(connection, activity_ids)
    named = {table: table.c.activity_id for table in DEPENDENT_TABLES} | {activities: activities.c.id}
    deleted = {
        table.fullname: connection.execute(delete(table).where(any_of(activity_id, activity_ids))).rowcount
        for table, activity_id in named.items()
    }
    deleted[recording_bytes.fullname] = delete_bytes_of_nobody(connection, files)
    mark_outdated(connection, in_lake)
    delete_segments_of_nobody(connection, ridden)
    return deleted


def _files_of(connection: Connection, activity_ids: Collection[int]) -> set[tuple[int, int]]:
    """Athlete and recording of the files of these activities."""
    files = archive_files.c["athlete_id", "recording_id"]
    query = select(*files).where(any_of(archive_files.c.activity_id, activity_ids))
    return {(row.athlete_id, row.recording_id) for row in connection.execute(query)}
