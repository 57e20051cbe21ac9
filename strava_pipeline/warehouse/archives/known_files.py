"""Which files were handed in before, so that nobody reads them twice."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, select

from strava_pipeline.warehouse.archives.files import figures_from_json
from strava_pipeline.warehouse.schema.archive_tables import archive_files, recording_bytes
from strava_pipeline.warehouse.schema.columns import any_of

_f, _b = archive_files.c, recording_bytes.c


def known_recordings(connection: Connection, athlete_id: int) -> frozenset[int]:
    """Return the ids of an athlete's recordings that are stored, and were read."""
    query = (
        select(_b.recording_id)
        .join(archive_files, (_f.athlete_id == _b.athlete_id) & (_f.recording_id == _b.recording_id))
        .where(_b.athlete_id == athlete_id, _f.figures.is_not(None), _f.fault.is_(None))
        .distinct()
    )
    return frozenset(connection.execute(query).scalars())


def known_figures(connection: Connection, athlete_id: int, recordings: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return what recordings tell of the whole, by id, as :func:`~.files.store_file` took it; only those known."""
    query = select(_f.recording_id, _f.figures).where(
        _f.athlete_id == athlete_id, any_of(_f.recording_id, recordings), _f.figures.is_not(None), _f.fault.is_(None)
    )
    return {recording: figures_from_json(figures) for recording, figures in connection.execute(query)}


def stored_names(connection: Connection, import_id: int) -> set[str]:
    """Return the names of the files that an archive import has stored so far."""
    return set(connection.execute(select(_f.name).where(_f.import_id == import_id)).scalars())


def activities_of(connection: Connection, import_id: int, recordings: Collection[int]) -> dict[str, int]:
    """Return the activities that files of an archive import with these recordings were taken for, by name."""
    query = select(_f.name, _f.activity_id).where(
        _f.import_id == import_id, any_of(_f.recording_id, recordings), _f.activity_id.is_not(None)
    )
    return {row.name: row.activity_id for row in connection.execute(query)}
