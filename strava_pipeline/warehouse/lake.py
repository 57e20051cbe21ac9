"""Samples as Parquet files, one per athlete and month, for engines that read columns: DuckDB, Spark, Trino.

::

    STRAVA_LAKE_URL/athlete_id=1001/month=2025-06/points.parquet

The columns are those of the view ``activity_points``; ``athlete_id`` is only in the folder's name, by Hive's
convention. A file is written under another name and then renamed, so readers see either the old file or the new one.
Only one process writes a month at a time, and it writes again if the rows changed meanwhile. Needs the extra ``lake``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO, UnsupportedOperation
from pathlib import Path
from typing import Any

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import csv, parquet
from sqlalchemy import Connection, Engine, select

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local import private_files
from strava_pipeline.local.private_files import OWNER_ONLY, Readers
from strava_pipeline.months import Span, month_text
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.activities.lake_months import note_in_lake, note_writing, outdated_since
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import driver_errors, now, retry_transaction
from strava_pipeline.warehouse.lake_files import open_lake, reason_of
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.schema.tables import activities, activity_streams

FILE = "points.parquet"
PART = "points.part"
# DuckDB gives one thread a row group of this many samples; it also limits the memory used here.
POINTS_PER_GROUP = 122_880
POINTS = "SELECT * FROM strava.activity_points"
IN_FOLDER_NAME = "athlete_id"
FINGERPRINT = b"strava_pipeline.fingerprint"
# How often a month is written that changes each time while it is written.
ATTEMPTS = 5
logger = get_logger(__name__)
_told: set[str] = set()
# Arrow types by the OIDs of Postgres' types.
_TYPES = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
}


@dataclass(frozen=True)
class MonthFile:
    """One month's file in the lake, and whether it was ``written`` or removed now; without samples there is no file."""

    address: str
    points: int
    size_bytes: int
    written: bool


def write_month(engine: Engine, url: str, span: Span, readers: Readers = OWNER_ONLY) -> MonthFile:
    """Make a month's file contain exactly the stored samples; a file that already does is not written.

    On a local disk, new files and folders are for their owner and ``readers`` only. ``WarehouseError`` if the lake
    cannot be written, or if the month changes during each of ``ATTEMPTS`` writes.
    """
    filesystem, root = open_lake(url)
    _tell_if_open(filesystem, root, readers)
    folder = f"{root}/athlete_id={span.athlete_id}/month={month_text(span.start)}"
    retry_transaction(engine, partial(note_writing, span=span))
    month, moment, mark = _write_month(engine, _Place(filesystem, folder, readers), span, url)
    retry_transaction(engine, partial(note_in_lake, span=span, written_at=moment, mark=mark))
    return month


def _write_month(engine: Engine, place: _Place, span: Span, url: str) -> tuple[MonthFile, datetime, datetime | None]:
    """Make a month's file equal to the tables; return it, the time (UTC) as of which it is, and its mark of then."""
    try:
        with engine.begin() as connection:
            acquire_for_athlete(connection, AthleteLock.LAKE_MONTH, span.athlete_id, month_text(span.start))
            moment = now(connection)
            for _ in range(ATTEMPTS):
                mark = outdated_since(connection, span)
                batches = _batches(connection, span)
                wanted = _fingerprint(batches)
                written = _make_equal(connection, place, batches, wanted)
                if _fingerprint(_batches(connection, span)) == wanted:
                    return _month_file(place.filesystem, place.folder, batches, written=written), moment, mark
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"the lake at {url} cannot be written: {reason_of(error)}") from error
    raise WarehouseError(f"athlete {span.athlete_id}'s {month_text(span.start)} changes faster than it can be written")


@dataclass(frozen=True)
class _Recording:
    """One activity's stored streams, with what tells whether they are in the file."""

    activity_id: int
    points: int
    fetched_at: str


def _batches(connection: Connection, span: Span) -> list[list[_Recording]]:
    """A month's recordings, oldest first, in groups of about :data:`POINTS_PER_GROUP` samples."""
    found = connection.execute(
        select(activities.c.id, activity_streams.c.point_count, activity_streams.c.fetched_at)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(in_span(span), activity_streams.c.point_count > 0)
        .order_by(activities.c.start_date, activities.c.id)
    )
    batches: list[list[_Recording]] = []
    points = POINTS_PER_GROUP
    for row in found:
        if points + row.point_count > POINTS_PER_GROUP:
            batches.append([])
            points = 0
        batches[-1].append(_Recording(row.id, row.point_count, row.fetched_at.isoformat()))
        points += row.point_count
    return batches


def _fingerprint(batches: list[list[_Recording]]) -> bytes:
    return hashlib.sha256(repr(batches).encode()).hexdigest().encode() if batches else b""


@dataclass(frozen=True)
class _Place:
    """A month's folder, and who may read the files there."""

    filesystem: Any
    folder: str
    readers: Readers

    def make(self) -> None:
        if isinstance(self.filesystem, LocalFileSystem):
            private_files.make_folder(Path(self.folder), self.readers)
            self.share(f"{self.folder}/{FILE}")
        else:
            self.filesystem.makedirs(self.folder, exist_ok=True)

    def share(self, path: str) -> None:
        """Let the readers' group read the file and the three folders above it, as it may be newer than the file."""
        if isinstance(self.filesystem, LocalFileSystem):
            for shared in filter(Path.exists, (Path(path), *list(Path(path).parents)[:3])):
                private_files.share_with_group(shared, self.readers)

    def create(self, path: str) -> Any:
        """Open a new file for writing; the rest of a writer that died is deleted."""
        if not isinstance(self.filesystem, LocalFileSystem):
            return self.filesystem.open(path, "wb")
        Path(path).unlink(missing_ok=True)
        return private_files.create(Path(path), self.readers)


def _make_equal(connection: Connection, place: _Place, batches: list[list[_Recording]], wanted: bytes) -> bool:
    """Write, replace or delete a month's file; return ``False`` if there was nothing to do."""
    filesystem, folder = place.filesystem, place.folder
    path = f"{folder}/{FILE}"
    exists = filesystem.exists(path)
    if not batches:
        if filesystem.exists(folder):
            filesystem.rm(folder, recursive=True)
        return bool(exists)
    schema = _schema(connection).with_metadata({FINGERPRINT: wanted})
    if exists and _is_current(filesystem, path, schema):
        place.share(path)
        return False
    place.make()
    part = f"{folder}/{PART}"
    with place.create(part) as file:
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in _tables(connection, schema, batches):
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
        _flush_to_disk(file)
    filesystem.mv(part, path)
    return True


def _tables(connection: Connection, schema: Any, batches: list[list[_Recording]]) -> Iterator[Any]:
    """The samples batch by batch, parsed from Postgres' CSV straight into columns."""
    names = ", ".join(schema.names)
    query = f"COPY ({POINTS.replace('*', names)} WHERE activity_id IN ({{}})) TO STDOUT (FORMAT csv)"
    reading = csv.ReadOptions(column_names=schema.names)
    converting = csv.ConvertOptions(
        column_types=schema, true_values=["t"], false_values=["f"], strings_can_be_null=True
    )
    for batch in batches:
        ids = ",".join(str(recording.activity_id) for recording in batch)
        text_of_batch = BytesIO()
        with driver_errors(connection), driver_of(connection).cursor().copy(query.format(ids).encode()) as copy:
            for block in copy:
                text_of_batch.write(block)
        if text_of_batch.tell():
            text_of_batch.seek(0)
            table = csv.read_csv(text_of_batch, reading, convert_options=converting)
            yield table.sort_by([("activity_id", "ascending"), ("point_index", "ascending")]).cast(schema)


def _schema(connection: Connection) -> Any:
    """The view's columns, without the one in the folder's name."""
    with driver_errors(connection):
        cursor = driver_of(connection).execute(f"{POINTS} LIMIT 0".encode())
    described = cursor.description or []
    return pa.schema([(column.name, _TYPES[column.type_code]) for column in described if column.name != IN_FOLDER_NAME])


def _is_current(filesystem: Any, path: str, schema: Any) -> bool:
    with filesystem.open(path, "rb") as file:
        try:
            stored = parquet.ParquetFile(file).schema_arrow
        except pa.ArrowInvalid:
            return False  # not written by this program, or damaged since
    return bool(stored.equals(schema, check_metadata=True))


def _flush_to_disk(file: Any) -> None:
    """Flush a local file to the disk: a file renamed before that could be empty after a power cut."""
    file.flush()
    with suppress(AttributeError, UnsupportedOperation):  # only a local file has a descriptor
        os.fsync(file.fileno())


def _tell_if_open(filesystem: Any, root: str, readers: Readers) -> None:
    """Warn once per process of a lake's folder that others can read; its mode stays, as it may be intended."""
    if not isinstance(filesystem, LocalFileSystem) or root in _told or not Path(root).is_dir():
        return
    if private_files.is_exposed(Path(root), readers):
        _told.add(root)
        logger.warning(
            "others can read the lake: close it by chmod -R go= %s, or name a group that may in STRAVA_FILE_GROUP", root
        )


def _month_file(filesystem: Any, folder: str, batches: list[list[_Recording]], *, written: bool) -> MonthFile:
    path = f"{folder}/{FILE}"
    return MonthFile(
        address=filesystem.unstrip_protocol(path),
        points=sum(recording.points for batch in batches for recording in batch),
        size_bytes=int(filesystem.size(path)) if batches else 0,
        written=written,
    )
