"""What became of the rows and files of one archive import, as the tables tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_rows, recordings
from strava_pipeline.warehouse.schema.tables import activities

_f, _r, _a = archive_files.c, recordings.c, activities.c


@dataclass(frozen=True, kw_only=True)
class ImportCounts:
    """What became of rows and files.

    ``rows``: stored ones; ``told_by_api``: of activities that Strava's API tells of, too. ``files``: stored ones;
    ``matched``: taken for an activity of Strava's; ``own``: that became an activity of their own; ``cropped``: of which
    the activity is a part only. ``damage``: how many readable files have each kind of damage. ``faults``: names of
    files of which nothing is read, with the reason; ``doubts``: of files that are like an activity, and were not taken
    for it.
    """

    rows: int
    told_by_api: int
    files: int
    matched: int
    own: int
    cropped: int
    damage: dict[str, int]
    faults: list[tuple[str, str]]
    doubts: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class FileFate:
    """What became of one file: ``activity_id`` and ``start`` (UTC) of what it was taken for, if it was."""

    name: str
    activity_id: int | None
    doubt: str | None
    fault: str | None
    start: datetime | None


@dataclass(frozen=True, kw_only=True)
class StoredHistory:
    """What is stored of an athlete: ``activities``, ``with_streams`` those with samples; starts are UTC."""

    activities: int
    with_recording: int
    first: datetime | None
    last: datetime | None


def count_import(connection: Connection, import_id: int) -> ImportCounts:
    """Count what became of an archive import's rows and files; names are sorted."""
    rows = connection.execute(
        select(
            func.count(),
            func.count().filter(_a.told_by_api),
        )
        .select_from(archive_rows)
        .outerjoin(activities, _a.id == archive_rows.c.activity_id)
        .where(archive_rows.c.import_id == import_id)
    ).one()
    is_of = and_(_r.activity_id == _f.activity_id, _r.recording_id == _f.recording_id)
    files = connection.execute(
        select(
            func.count(),
            func.count().filter(_f.activity_id > 0),
            func.count().filter(_f.activity_id < 0),
            func.count().filter(_r.is_cropped),
        )
        .select_from(archive_files)
        .outerjoin(recordings, is_of)
        .where(_f.import_id == import_id)
    ).one()
    kind = func.unnest(_r.damage).label("kind")
    damaged = (
        select(kind).select_from(archive_files).join(recordings, is_of).where(_f.import_id == import_id).subquery()
    )
    damage = connection.execute(select(damaged.c.kind, func.count()).group_by(damaged.c.kind).order_by(damaged.c.kind))
    return ImportCounts(
        rows=rows[0],
        told_by_api=rows[1],
        files=files[0],
        matched=files[1],
        own=files[2],
        cropped=files[3],
        damage={each.kind: each[1] for each in damage},
        faults=_named(connection, import_id, "fault"),
        doubts=_named(connection, import_id, "doubt"),
    )


def fates_of(connection: Connection, import_id: int) -> list[FileFate]:
    """Return what became of each file of an archive import, by name."""
    query = (
        select(_f.name, _f.activity_id, _f.doubt, _f.fault, _a.start_date.label("start"))
        .outerjoin(activities, _a.id == _f.activity_id)
        .where(_f.import_id == import_id)
        .order_by(_f.name, _f.recording_id)
    )
    return [FileFate(**row._asdict()) for row in connection.execute(query)]


def stored_history(connection: Connection, athlete_id: int) -> StoredHistory:
    """Return what is stored of an athlete."""
    has_recording = select(_r.activity_id).where(_r.activity_id == _a.id, _r.is_used).exists()
    found = connection.execute(
        select(
            func.count(), func.count().filter(has_recording), func.min(_a.start_date), func.max(_a.start_date)
        ).where(_a.athlete_id == athlete_id)
    ).one()
    return StoredHistory(activities=found[0], with_recording=found[1], first=found[2], last=found[3])


def _named(connection: Connection, import_id: int, column: str) -> list[tuple[str, str]]:
    told = _f[column]
    query = select(_f.name, told).where(_f.import_id == import_id, told.is_not(None)).order_by(_f.name)
    return [(name, text) for name, text in connection.execute(query)]
