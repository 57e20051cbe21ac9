"""What an archive's table holds, by month: enough to work through the archive, with little of each row in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from strava_pipeline.files.archive.activity_fields import activity_columns
from strava_pipeline.files.archive.gear import Gear, gear_by_id
from strava_pipeline.files.archive.row import ArchiveRow, BadRow
from strava_pipeline.files.archive.side_tables import read_bikes, read_shoes
from strava_pipeline.months import add_months
from strava_pipeline.sync.archive_reading import Outline
from strava_pipeline.sync.archive_source import HandedIn

# Rows that are given on at a time.
_ROWS: Final = 500
# Of rows and files that are named in a report, so many are: the others are counted.
NAMED: Final = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A row with a recording: ``file`` as the row names it, ``member`` where it lies; ``None`` if it is missing."""

    outline: Outline
    file: str
    member: str | None


@dataclass(kw_only=True)
class ArchiveIndex:
    """What was found in the table.

    ``ids`` and ``entries``: by the month (first day, UTC) in which the row's activity starts. ``loose``: recordings
    that no row names. ``bad``: rows that are not read, of which the first :data:`NAMED` are kept, ``skipped``: counted
    by reason. ``unknown_words``: how many rows have a word for their sport that nobody knows. ``without_file``: rows
    that name no recording; ``failed_exports``: those of them whose recording Strava could not write;
    ``stray_filenames``: those that name something that is none.
    """

    rows: int = 0
    ids: dict[date, list[int]] = field(default_factory=dict)
    entries: dict[date, list[Entry]] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown_words: Counter[str] = field(default_factory=Counter)
    gear: dict[str, Gear] = field(default_factory=dict)
    without_file: int = 0
    failed_exports: int = 0
    stray_filenames: int = 0
    photos: int = 0
    newest_start: datetime | None = None

    @property
    def months(self) -> list[date]:
        """The first days of the months with activities, the newest first."""
        return sorted(self.ids, reverse=True)

    @property
    def missing(self) -> list[str]:
        """Recordings that rows name and the archive lacks."""
        return [entry.file for entries in self.entries.values() for entry in entries if entry.member is None]


def index_of(
    handed: HandedIn,
    sport_words: Mapping[str, str],
    now: datetime,
    take: Callable[[Sequence[ArchiveRow]], None] = lambda _: None,
) -> ArchiveIndex:
    """Read the table of an archive, if it is one; ``take`` gets all rows in turn, some hundreds at a time.

    ``UnreadableFile`` if the table cannot be read to its end.
    """
    index = ArchiveIndex()
    named: set[str] = set()
    listed = read_bikes(handed.members), read_shoes(handed.members)
    for rows in _in_parts(handed, sport_words, now, index):
        take(rows)
        for row in rows:
            _note(index, handed, row, named)
        index.gear = gear_by_id(rows, *listed) | index.gear
    index.loose = [name for name in handed.recordings if name not in named]
    return index


def _in_parts(
    handed: HandedIn, sport_words: Mapping[str, str], now: datetime, index: ArchiveIndex
) -> Iterator[list[ArchiveRow]]:
    part: list[ArchiveRow] = []
    for row in handed.table.rows(sport_words, now) if handed.table is not None else ():
        if isinstance(row, BadRow):
            index.skipped[row.code] += 1
            if len(index.bad) < NAMED:
                index.bad.append(row)
            continue
        part.append(row)
        if len(part) == _ROWS:
            yield part
            part = []
    if part:
        yield part


def _note(index: ArchiveIndex, handed: HandedIn, row: ArchiveRow, named: set[str]) -> None:
    month = add_months(row.start.astimezone(UTC).date(), 0)
    index.rows += 1
    index.ids.setdefault(month, []).append(row.id)
    index.newest_start = max(filter(None, (index.newest_start, row.start)))
    index.photos += len(row.media or ())
    if row.sport is None:
        index.unknown_words[row.sport_word] += 1
    if row.filename is None:
        index.without_file += 1
        index.failed_exports += row.export_failed
        index.stray_filenames += row.has_stray_filename
        return
    member = handed.members.recording_of(row.filename)
    if member is not None:
        named.add(member)
    index.entries.setdefault(month, []).append(Entry(outline_of(row), row.filename, member))


def outline_of(row: ArchiveRow) -> Outline:
    """What a row tells of its recording, in the units and decimals of table ``activities``."""
    told = activity_columns(row)
    return Outline(row.id, row.start, told["elapsed_time"], told["distance"])
