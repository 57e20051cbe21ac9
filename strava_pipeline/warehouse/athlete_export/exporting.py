"""Exports everything that is stored of an athlete into a folder or a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, exists, func, select

from strava_pipeline.errors import ConfigurationError, ErasureUnderWay, UnknownAthlete, WarehouseError
from strava_pipeline.local import private_files
from strava_pipeline.local.part_folder import part_folder, put_in_place
from strava_pipeline.warehouse.athlete_export.export_files import ExportFiles, ensure_room
from strava_pipeline.warehouse.athlete_export.exported_tables import exported_tables
from strava_pipeline.warehouse.athlete_export.layout import LEFT_OUT, MANIFEST
from strava_pipeline.warehouse.athlete_export.manifest import Manifest, TableNote
from strava_pipeline.warehouse.athlete_export.people_files import (
    write_account,
    write_gpx,
    write_readme,
    write_recordings,
)
from strava_pipeline.warehouse.athlete_export.table_files import write_table
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.erasures import is_being_erased
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.schema.archive_tables import recording_bytes
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, athletes

ZIP: Final = ".zip"
# Bytes on disk for a sample, rounded up: in tables and Parquet, in a GPX file, and there once it is compressed.
_SAMPLE_BYTES, _GPX_BYTES, _GPX_ZIP_BYTES = 60, 450, 30
_ACTIVITY_BYTES: Final = 100_000


@dataclass(frozen=True)
class Exported:
    """What was written where: rows of all tables, activities, GPX files and recordings, and the bytes of all files."""

    path: Path
    rows: int
    activities: int
    tracks: int
    recordings: int
    bytes: int


def export_athlete(
    engine: Engine,
    athlete_id: int,
    target: Path,
    *,
    parquet: bool,
    gpx: bool = True,
    told: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write everything of an athlete into a new folder ``target``, or into a zip if it is called so.

    It is as of one moment, whatever is stored meanwhile, and has its name once it is whole. ``told`` gets a line for
    each step. ``UnknownAthlete`` if nothing is stored of the athlete, ``ErasureUnderWay`` while it is being deleted,
    ``ConfigurationError`` if something is at ``target``, ``WarehouseError`` if the disk has no room.
    """
    refuse_taken(target)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection, connection.begin(), _told_disk(target):
        _refuse_unknown(connection, athlete_id)
        private_files.make_folder(target.parent)
        with part_folder(target.parent, target.name) as part:
            ensure_room(part, _size(connection, athlete_id, gpx=gpx, zipped=is_zip(target)))
            with _files(part, target) as files:
                exported = _write(connection, files, athlete_id, target, parquet=parquet, gpx=gpx, told=told)
            refuse_taken(target)
            if target.is_dir():
                target.rmdir()
            put_in_place(part / target.name, target)
    return exported


@contextmanager
def _told_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WarehouseError(f"{target} cannot be written: {error.strerror}; nothing was written") from error


def is_zip(target: Path) -> bool:
    """Whether a zip is meant by this name."""
    return target.suffix.lower() == ZIP


def refuse_taken(target: Path) -> None:
    """``ConfigurationError`` if something is there already, other than an empty folder."""
    if is_zip(target) or not target.is_dir():
        is_taken = target.is_symlink() or target.exists()
    else:
        is_taken = target.is_symlink() or any(target.iterdir())
    if is_taken:
        raise ConfigurationError(f"{target} is there already, and nothing is overwritten: name another place by -o")


def _refuse_unknown(connection: Connection, athlete_id: int) -> None:
    known = (
        exists().where(users.c.athlete_id == athlete_id)
        | exists().where(athletes.c.id == athlete_id)
        | exists().where(activities.c.athlete_id == athlete_id)
    )
    if not connection.execute(select(known)).scalar():
        raise UnknownAthlete(f"nothing is stored of athlete {athlete_id}: strava-pipeline athletes list names them all")
    if is_being_erased(connection, athlete_id):
        raise ErasureUnderWay(f"the data of athlete {athlete_id} are being deleted: nothing of them is exported")


def _size(connection: Connection, athlete_id: int, *, gpx: bool, zipped: bool) -> int:
    """About how many bytes the export takes on the disk."""
    theirs = activities.c.athlete_id == athlete_id
    count = connection.execute(select(func.count()).where(theirs)).scalar_one()
    samples = func.coalesce(func.sum(activity_streams.c.point_count), 0)
    points = connection.execute(select(samples).where(activity_streams.c.athlete_id == athlete_id)).scalar_one()
    raw = func.coalesce(func.sum(func.octet_length(recording_bytes.c.body)), 0)
    files = connection.execute(select(raw).where(recording_bytes.c.athlete_id == athlete_id)).scalar_one()
    each = _SAMPLE_BYTES + ((_GPX_ZIP_BYTES if zipped else _GPX_BYTES) if gpx else 0)
    return int(count * _ACTIVITY_BYTES + points * each + files)


@contextmanager
def _files(part: Path, target: Path) -> Iterator[ExportFiles]:
    """The export's files, which end up in one zip or folder with the target's name."""
    if not is_zip(target):
        folder = part / target.name
        private_files.make_folder(folder)
        yield ExportFiles(folder)
        return
    with (
        private_files.create(part / target.name) as file,
        zipfile.ZipFile(file, "w", strict_timestamps=False) as archive,
    ):
        yield ExportFiles(part / "files", archive)


def _write(
    connection: Connection,
    files: ExportFiles,
    athlete_id: int,
    target: Path,
    *,
    parquet: bool,
    gpx: bool,
    told: Callable[[str], None],
) -> Exported:
    taken_at = now(connection).isoformat()
    private_files.make_folder(files.folder)
    write_readme(files, athlete_id, taken_at, parquet=parquet)
    write_account(connection, files, athlete_id)
    notes = {}
    for table in exported_tables(connection):
        told(f"{table.full_name}")
        rows = write_table(connection, files, table, athlete_id, parquet=parquet)
        notes[table.full_name] = TableNote(rows, table.names, is_restored=table.has_all)
    recordings = write_recordings(connection, files, athlete_id)
    told(f"{recordings} recordings")
    tracks = write_gpx(connection, files, athlete_id, lambda n, of: told(f"GPX {n} of {of}")) if gpx else 0
    manifest = Manifest(athlete_id, taken_at, HEAD, version("strava-pipeline"), notes, dict(files.notes), LEFT_OUT)
    files.write(MANIFEST, manifest.dump())
    return Exported(
        target,
        sum(note.rows for note in notes.values()),
        notes["strava.activities"].rows,
        tracks,
        recordings,
        sum(note.bytes for note in files.notes.values()),
    )
