"""Reads activities.csv row by row, in any language and layout, with one row in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive import columns
from strava_pipeline.files.archive.cells import WildNumber, bigint, text
from strava_pipeline.files.archive.columns import FIRST, Column
from strava_pipeline.files.archive.csv_text import csv_rows
from strava_pipeline.files.archive.dates import parse_date
from strava_pipeline.files.archive.layout import EXPORT_FAILED, Layout, find_layout
from strava_pipeline.files.archive.members import ArchiveMembers
from strava_pipeline.files.archive.names import ACTIVITIES, RECORDINGS, is_stray
from strava_pipeline.files.archive.row import ArchiveRow, BadRow, RowFault, Weather
from strava_pipeline.files.archive.shown_distance import shown_distance_m
from strava_pipeline.files.archive.sports import sport_of

# People enter what they did as children; no one did anything before.
_FIRST_YEAR: Final = 1900
# A row without these is none: other columns that hold no number are kept as they are.
_NEEDED: Final = frozenset({"elapsed_s", "moving_s", "distance_m"})
# Of s and m, which tables and their readers hold in 32 bits.
_MOST: Final = 2**31
_WEATHER: Final = "weather_"


@dataclass(frozen=True, slots=True)
class ActivityTable:
    """The table of an open archive: ``layout``, and the number of its rows."""

    members: ArchiveMembers
    layout: Layout
    row_count: int

    def rows(self, sport_words: Mapping[str, str], now: datetime) -> Iterator[ArchiveRow | BadRow]:
        """Yield each row in the table's order, and a ``BadRow`` for one that cannot be read.

        ``sport_words``: overrides of :func:`.sports.sport_words`. Dates after the year that follows ``now`` are wrong.
        """
        reader = _RowReader(self.layout, sport_words, now.year + 1)
        with closing(_cells(self.members)) as rows:
            next(rows)
            for line, cells in rows:
                yield reader.row(line, cells)


def activity_table(members: ArchiveMembers) -> ActivityTable:
    """Read an archive's table once to learn its layout; ``UnreadableFile`` if it is missing, or not Strava's."""
    with closing(_cells(members)) as rows:
        header = next(rows, None)
        what = f"{members.name}: {ACTIVITIES}"
        if header is None:
            raise UnreadableFile(f"{what} is empty: download the archive again")
        if len(header[1]) > members.limits.columns:
            raise UnreadableFile(f"{what} has more than the {members.limits.columns:,} columns that are read")
        layout, count = find_layout(header[1], (cells for _, cells in rows), what)
    return ActivityTable(members, layout, count)


def _cells(members: ArchiveMembers) -> Generator[tuple[int, list[str]]]:
    return csv_rows(members.open(ACTIVITIES), f"{members.name}: {ACTIVITIES}", members.limits)


class _Refused(Exception):
    def __init__(self, code: RowFault) -> None:
        super().__init__(code)
        self.code = code


class _RowReader:
    def __init__(self, layout: Layout, sport_words: Mapping[str, str], last_year: int) -> None:
        self._layout = layout
        self._sport_words = sport_words
        self._last_year = last_year
        self._known = [
            (at, column)
            for at, column in enumerate(layout.columns)
            if column is not None and column not in {*FIRST[:5], columns.SHOWN_DISTANCE, columns.FILENAME}
        ]
        self._shown_distance = FIRST.index(columns.SHOWN_DISTANCE)
        self._filename = layout.columns.index(columns.FILENAME)
        self._unknown = [at for at, column in enumerate(layout.columns) if column is None]
        self._has_heartrate = any(column and "heartrate" in column.name for column in layout.columns)
        self._has_media = columns.MEDIA in layout
        self._ids: set[int] = set()

    def row(self, line: int, cells: Sequence[str]) -> ArchiveRow | BadRow:
        try:
            return self._row(cells)
        except _Refused as refused:
            return BadRow(line, refused.code)
        except WildNumber:
            return BadRow(line, RowFault.WILD_NUMBER)

    def _row(self, cells: Sequence[str]) -> ArchiveRow:
        if len(cells) != self._layout.width:
            raise _Refused(RowFault.COLUMNS)
        identity, start = self._id(cells[0]), self._start(cells[1])
        values, unknown = self._values(cells)
        sport = sport_of(cells[3], self._sport_words)
        self._fill(values, cells[self._shown_distance], sport)
        weather = {name.removeprefix(_WEATHER): values.pop(name) for name in list(values) if name.startswith(_WEATHER)}
        # A row that is refused for another reason does not take the id from one that is right.
        if identity in self._ids:
            raise _Refused(RowFault.DOUBLE_ID)
        self._ids.add(identity)
        return ArchiveRow(
            id=identity,
            start=start,
            name=cells[2],
            sport_word=cells[3].strip(),
            sport=sport,
            description=cells[4] or None,
            has_heartrate_columns=self._has_heartrate,
            weather=Weather(**weather) if weather else None,
            unknown=tuple(unknown),
            **_filename(cells[self._filename].strip()),
            **values,
        )

    def _id(self, cell: str) -> int:
        try:
            return bigint(cell.strip())
        except ValueError:
            raise _Refused(RowFault.ID) from None

    def _start(self, cell: str) -> datetime:
        found = parse_date(cell)
        if found is None or not _FIRST_YEAR <= found.year <= self._last_year:
            raise _Refused(RowFault.DATE)
        return found

    def _values(self, cells: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The values of cells that are not blank, and the cells that have no home."""
        values: dict[str, Any] = {"media": ()} if self._has_media else {}
        homeless = [at for at in self._unknown if cells[at].strip()]
        for at, column in self._known:
            cell = cells[at]
            if not cell or cell.isspace():
                continue
            try:
                values[column.name] = _value(column, cell)
            except WildNumber:
                raise
            except ValueError:
                homeless.append(at)
        return values, [(self._layout.headers[at], cells[at]) for at in sorted(homeless)]

    def _fill(self, values: dict[str, Any], shown_distance: str, sport: str | None) -> None:
        """Fill what is blank in the second of two columns with the first; the two of commute are one."""
        values["shown_distance"] = shown_distance.strip() or None
        for name in ("elapsed_s", "max_heartrate_bpm", "relative_effort"):
            if values.get(name) is None:
                values[name] = values.get(f"shown_{name}")
        if values.get("distance_m") is None and shown_distance:
            values["distance_m"] = self._shown_m(shown_distance.strip(), sport, values["elapsed_s"])
        if any(round(values.get(name) or 0) >= _MOST for name in _NEEDED):
            raise WildNumber
        told = [flag for name in ("commute", "shown_commute") if (flag := values.get(name)) is not None]
        values["commute"] = any(told) if told else None

    def _shown_m(self, cell: str, sport: str | None, elapsed_s: float | None) -> float | None:
        if not self._layout.is_in_metres:
            return shown_distance_m(cell, sport, elapsed_s)
        return float(_value(_METRES, cell)) if cell else None


_METRES: Final = Column("distance_m", "distance")


def _value(column: Column, cell: str) -> Any:
    if column.read is text:
        return cell
    if column.name not in _NEEDED:
        return column.read(cell.strip())
    try:
        found = column.read(cell.strip())
    except WildNumber:
        raise
    except ValueError:
        raise _Refused(RowFault.NUMBER) from None
    if found < 0:
        raise _Refused(RowFault.NUMBER)
    return found


def _filename(cell: str) -> dict[str, Any]:
    """The path of a recording; a table can point at anything."""
    if not cell:
        return {}
    if cell == EXPORT_FAILED:
        return {"export_failed": True}
    if not cell.startswith(RECORDINGS) or cell.count("/") > 1 or is_stray(cell):
        return {"has_stray_filename": True}
    return {"filename": cell}
