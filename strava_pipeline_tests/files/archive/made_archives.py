"""Makes archives: tables in each layout that was seen, and the zips and folders around them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strava_pipeline.files.archive import columns
from strava_pipeline.files.archive.columns import BEHIND_FILENAME, FIRST, LATE, MEDIA, Column
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.row import ArchiveRow, BadRow
from strava_pipeline.files.archive.sports import sport_words
from strava_pipeline.files.archive.table import activity_table

DATA = Path(__file__).parents[1] / "data" / "archive"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
_WITHOUT_LATE = tuple(column for column in BEHIND_FILENAME if column not in LATE)
_BETWEEN_10 = (columns.COMMUTE, columns.GEAR_NAME, columns.FILENAME)
_BETWEEN_11 = (columns.SHOWN_EFFORT, *_BETWEEN_10)
_BETWEEN_12 = (columns.SHOWN_MAX_HEARTRATE, *_BETWEEN_11)
_BETWEEN_13 = (*_BETWEEN_12[:3], columns.PRIVATE_NOTE, *_BETWEEN_12[3:])


def _new(number: int) -> Column:
    return Column(f"new_{number}", f"New Column {number}", columns.FILENAME.read)


def _wide(width: int) -> tuple[Column, ...]:
    known = (*FIRST, *_BETWEEN_13, *BEHIND_FILENAME)[: width - 1]
    return (*known, *map(_new, range(len(known), width - 1)), MEDIA)


LAYOUTS: dict[str, tuple[Column, ...]] = {
    "10": (*FIRST, *_BETWEEN_10),
    "11": (*FIRST, *_BETWEEN_11),
    "12": (*FIRST, *_BETWEEN_12),
    "72": (*FIRST, *_BETWEEN_11, *_WITHOUT_LATE[:61]),
    "73": (*FIRST, *_BETWEEN_12, *_WITHOUT_LATE[:61]),
} | {str(width): _wide(width) for width in (87, 92, 94, 99, 101, 103, 105, 120)}
CELLS = {
    "id": "123",
    "start": "Oct 5, 2014, 4:15:21 PM",
    "name": "Morning Lap",
    "sport_word": "Run",
    "shown_elapsed_s": "1428",
    "shown_distance": "3.32",
    "shown_commute": "false",
    "filename": "activities/123.gpx",
    "elapsed_s": "1428.0",
    "moving_s": "1411.0",
    "distance_m": "3322.949951171875",
}


def cells(layout: Sequence[Column], **values: str) -> list[str]:
    """A row of cells, by the names of columns; usual ones where none are named."""
    told = CELLS | values
    return [told.get(column.name, "") for column in layout]


def table_bytes(
    rows: Iterable[Sequence[str]], layout: Sequence[Column], headers: Sequence[str] | None = None, delimiter: str = ","
) -> bytes:
    """A table as Strava writes it, with English headers unless others are given."""
    lines = [headers or [column.header for column in layout], *rows]
    return "".join(delimiter.join(_quoted(cell, delimiter) for cell in line) + "\n" for line in lines).encode()


def _quoted(cell: str, delimiter: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if any(char in cell for char in f'{delimiter}"\r\n') else cell


def made_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def made_folder(path: Path, members: Mapping[str, bytes]) -> Path:
    for name, data in members.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return path


def read_rows(path: Path, *assignments: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> list[ArchiveRow | BadRow]:
    with open_archive(path, limits) as members:
        return list(activity_table(members).rows(sport_words(assignments), NOW))


def read_table(
    folder: Path, table: bytes, *assignments: str, limits: ArchiveLimits = DEFAULT_LIMITS
) -> list[ArchiveRow | BadRow]:
    """The rows of an archive that holds nothing but this table."""
    return read_rows(made_folder(folder, {"activities.csv": table}), *assignments, limits=limits)


def good(rows: Iterable[ArchiveRow | BadRow]) -> list[ArchiveRow]:
    found = list(rows)
    bad = [row for row in found if isinstance(row, BadRow)]
    assert bad == []
    return [row for row in found if isinstance(row, ArchiveRow)]


def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "expected.json").read_text())
    return found
