"""Keeps files that were handed in as they came, with what they tell of the whole."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import archive_files, recording_bytes
from strava_pipeline.warehouse.schema.columns import any_of

_f, _b = archive_files.c, recording_bytes.c


@dataclass(frozen=True, kw_only=True)
class HandedFile:
    """A file that was handed in.

    ``recording_id``: of :func:`strava_pipeline.files.recording.recording_id`; ``name``: as its archive or folder has
    it. ``row_id``: the activity whose row in the archive names it. ``body``: compressed by gzip; ``None`` if nothing
    can be read. ``figures``: of :func:`strava_pipeline.files.figures.activity_figures`. ``fault``: why nothing can be
    read.
    """

    athlete_id: int
    recording_id: int
    name: str
    row_id: int | None = None
    kind: FileKind | None = None
    body: bytes | None = None
    figures: Mapping[str, Any] | None = None
    fault: str | None = None


def store_file(connection: Connection, import_id: int, handed: HandedFile) -> None:
    """Keep a file of an archive import; as :func:`store_files`."""
    store_files(connection, import_id, handed.athlete_id, [handed])


def store_files(connection: Connection, import_id: int, athlete_id: int, handed: Sequence[HandedFile]) -> None:
    """Keep files of an athlete's archive import; done again, it replaces what it stored.

    Call :func:`.merging.merge` afterwards. ``NeedsReauthorization`` if the athlete has disconnected.
    """
    lock_activities(connection, athlete_id)
    refuse_rows_of_revoked(connection, [athlete_id])
    bodies = [
        {"athlete_id": athlete_id, "recording_id": each.recording_id, "kind": each.kind, "body": each.body}
        for each in handed
        if each.body is not None and each.kind is not None
    ]
    if bodies:
        connection.execute(insert(recording_bytes).on_conflict_do_nothing(), bodies)
    storing = insert(archive_files)
    changes = {name: storing.excluded[name] for name in ("row_id", "fault", "figures")}
    rows = [
        {
            "import_id": import_id,
            "recording_id": each.recording_id,
            "name": each.name,
            "athlete_id": athlete_id,
            "row_id": each.row_id,
            "fault": each.fault,
            "figures": None if each.figures is None else figures_to_json(each.figures),
        }
        for each in handed
    ]
    if rows:
        replacing = storing.on_conflict_do_update(index_elements=list(archive_files.primary_key), set_=changes)
        connection.execute(replacing, rows)


def note_unreadable(connection: Connection, athlete_id: int, recording: int, fault: str) -> set[int]:
    """Note that nothing of a stored recording can be read, so that nobody tries it again.

    Returns the activities that it was taken for, which the caller merges. File and bytes stay.
    """
    lock_activities(connection, athlete_id)
    theirs = (_f.athlete_id == athlete_id, _f.recording_id == recording)
    taken_for = select(_f.activity_id).where(*theirs, _f.activity_id.is_not(None))
    found = set(connection.execute(taken_for).scalars())
    connection.execute(update(archive_files).where(*theirs).values(fault=fault, activity_id=None, doubt=None))
    return found


def load_recording_bytes(connection: Connection, athlete_id: int, recording: int) -> tuple[FileKind, bytes] | None:
    """Return kind and bytes (compressed by gzip) of a recording; ``None`` if it is not stored."""
    query = select(_b.kind, _b.body).where(_b.athlete_id == athlete_id, _b.recording_id == recording)
    row = connection.execute(query).first()
    return None if row is None else (FileKind(row.kind), row.body)


def delete_bytes_of_nobody(connection: Connection, recordings: Collection[tuple[int, int]]) -> int:
    """Delete the bytes of those of these recordings (athlete, recording) that no file names any more; how many."""
    if not recordings:
        return 0
    named = exists().where(_f.athlete_id == _b.athlete_id, _f.recording_id == _b.recording_id)
    ids = {recording for _, recording in recordings}
    athletes = {athlete_id for athlete_id, _ in recordings}
    gone = delete(recording_bytes).where(any_of(_b.athlete_id, athletes), any_of(_b.recording_id, ids), ~named)
    return connection.execute(gone).rowcount


def count_files(connection: Connection, import_id: int) -> int:
    """Count the files of an archive import."""
    return connection.execute(select(func.count()).where(_f.import_id == import_id)).scalar_one()


def figures_to_json(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures as JSON holds them: times in ISO 8601."""
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in figures.items()}
    return dict(json.loads(json.dumps(told)))


def figures_from_json(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of which :func:`figures_to_json` made ``body``."""
    start = body.get("start_date")
    return dict(body) | {"start_date": None if start is None else datetime.fromisoformat(start)}
