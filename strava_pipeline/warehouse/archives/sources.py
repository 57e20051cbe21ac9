"""All that tells of activities: Strava's stored answers, the newest row of an archive, and files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.warehouse.activities.answers import Answers, load_answers
from strava_pipeline.warehouse.archives.files import figures_from_json
from strava_pipeline.warehouse.archives.row_json import row_from_json
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports, archive_rows
from strava_pipeline.warehouse.schema.columns import any_of

_i, _r, _f = archive_imports.c, archive_rows.c, archive_files.c


@dataclass(frozen=True)
class TakenRow:
    """A row of an archive, and until when that tells (UTC)."""

    row: ArchiveRow
    taken_at: datetime


@dataclass(frozen=True)
class FileSource:
    """A readable file of an activity. ``is_named``: by the activity's row in an archive; ``taken_at``: UTC."""

    recording_id: int
    name: str
    is_named: bool
    taken_at: datetime
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Sources:
    """What tells of one activity. ``files``: the one that counts most is the first.

    ``is_odd``: Strava's stored answer does not map, so the activity's row stays as it is.
    """

    answers: Answers | None = None
    taken: TakenRow | None = None
    files: tuple[FileSource, ...] = ()
    is_odd: bool = False

    @property
    def is_told(self) -> bool:
        """Whether Strava tells of it, by its API or by an archive."""
        return self.answers is not None or self.taken is not None or self.is_odd

    @property
    def is_handed_in(self) -> bool:
        """Whether an archive or a file tells of it."""
        return self.taken is not None or bool(self.files)


def load_told(connection: Connection, activity_ids: Collection[int]) -> dict[int, Sources]:
    """Return what Strava's API and archives tell of those of the activities of which they do."""
    ids = [activity_id for activity_id in activity_ids if activity_id > 0]
    if not ids:
        return {}
    answers, odd = load_answers(connection, ids)
    rows = _newest_rows(connection, ids)
    return {
        activity_id: Sources(answers.get(activity_id), rows.get(activity_id), is_odd=activity_id in odd)
        for activity_id in answers.keys() | odd.keys() | rows.keys()
    }


def load_files(connection: Connection, activity_ids: Collection[int]) -> dict[int, tuple[FileSource, ...]]:
    """Return the readable files of these activities, each recording once.

    First those that a row names; then the one that was handed in last. The rest of the order only has to be one.
    """
    query = (
        select(_f.activity_id, _f.recording_id, _f.name, _f.row_id, _f.figures, _i.taken_at, _i.content_hash)
        .join(archive_imports, _i.id == _f.import_id)
        .where(any_of(_f.activity_id, activity_ids), _f.fault.is_(None))
    )
    rows = sorted(
        connection.execute(query),
        key=lambda row: (
            row.row_id != row.activity_id,
            -row.taken_at.timestamp(),
            row.content_hash,
            row.recording_id,
            row.name,
        ),
    )
    found: dict[int, dict[int, FileSource]] = {}
    for row in rows:
        source = FileSource(
            recording_id=row.recording_id,
            name=row.name,
            is_named=row.row_id == row.activity_id,
            taken_at=row.taken_at,
            figures=figures_from_json(row.figures or {}),
        )
        found.setdefault(row.activity_id, {}).setdefault(row.recording_id, source)
    return {activity_id: tuple(files.values()) for activity_id, files in found.items()}


def load_sources(connection: Connection, activity_ids: Collection[int]) -> dict[int, Sources]:
    """Return all that tells of each of these activities, nothing included."""
    told, files = load_told(connection, activity_ids), load_files(connection, activity_ids)
    nothing = Sources()
    return {
        activity_id: Sources(of.answers, of.taken, files.get(activity_id, ()), of.is_odd)
        for activity_id in activity_ids
        for of in [told.get(activity_id, nothing)]
    }


def _newest_rows(connection: Connection, activity_ids: Collection[int]) -> dict[int, TakenRow]:
    """The row of the newest archive by activity; of two of one time it only has to be always the same one."""
    query = (
        select(_r.activity_id, _r.body, _i.taken_at)
        .join(archive_imports, _i.id == _r.import_id)
        .where(any_of(_r.activity_id, activity_ids))
        .order_by(_i.taken_at, _i.content_hash)
    )
    # Of several the last one counts.
    return {row.activity_id: TakenRow(row_from_json(row.body), row.taken_at) for row in connection.execute(query)}
