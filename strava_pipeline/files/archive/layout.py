"""Which column of activities.csv is which, found by position and content: headers are translated, and five are double.

The path of a recording is the anchor. What stands before and behind it has had one order in all years; new columns came
at the end, before the media. Headers count only where Strava forgot to translate them, or wrote them in English.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive import columns
from strava_pipeline.files.archive.cells import FALSE, TRUE
from strava_pipeline.files.archive.columns import BEHIND_FILENAME, FIRST, LATE, OLD_HEADERS, Column

EXPORT_FAILED: Final = "#error#"
_FEWEST: Final = 10
# Of tables that end with the filename.
_WIDTHS_OF_FIRST_HALF: Final = frozenset({10, 11, 12})
_BETWEEN: Final = range(len(FIRST), 14)
_RECORDING: Final = re.compile(r"activities/\d+\.[A-Za-z0-9.]+", re.ASCII)
_ID: Final = re.compile(r"\d+(?:\.0)?", re.ASCII)
# Of the tables without media, activity type and start time, and of later ones with both.
_WIDTH_WITH_LATE: Final = 65
_WIDTHS_WITH_MEDIA: Final = frozenset({87, 92, 94, 99, 101, 103})
_MEDIA_WORDS: Final = frozenset({"media", "medien", "multimedia", "support"})
_FILENAME_WORDS: Final = frozenset({"filename", "dateiname", "bestandsnaam", "nombre de archivo", "nom du fichier"})
# Up to here, counted from the path, all layouts agree.
_AGREED: Final = 31
_PLACE_OF_COMMUTE: Final = {9: 7, 10: 8, 11: 9}
_UNTRANSLATED: Final = re.compile(r"translation[ _]missing.*?[\w-]+(?:\.[\w-]+)*\.(\w+)", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Layout:
    """``columns``: what each column is, ``None`` for one that nobody knows; ``headers``: their names, each once.

    ``is_in_metres``: the first distance is in metres, as it was up to 2019, and not a text for people.
    """

    columns: tuple[Column | None, ...]
    headers: tuple[str, ...]
    is_in_metres: bool

    @property
    def width(self) -> int:
        return len(self.columns)

    def __contains__(self, column: Column) -> bool:
        return column in self.columns


def find_layout(header: Sequence[str], rows: Iterable[Sequence[str]], what: str) -> tuple[Layout, int]:
    """Return the layout of a table, and how many rows it has; ``UnreadableFile`` if it is none of Strava's."""
    if len(header) < _FEWEST:
        raise _not_stravas(what)
    seen = _Seen(header)
    for row in rows:
        seen.add(row)
    labels = [_label(cell) for cell in header]
    at = _place_of_filename(labels, seen)
    if at is None or (seen.rows and not seen.ids):
        raise _not_stravas(what)
    found: list[Column | None] = [*FIRST, *(None for _ in labels[len(FIRST) :])]
    _place_between(found, at, seen)
    _place_behind(found, at, labels)
    if at < len(labels) - 1 and (seen.media or labels[-1].casefold() in _MEDIA_WORDS or _is_known_width(labels)):
        found[-1] = columns.MEDIA
    return Layout(tuple(found), _distinct(labels), labels[5] == "elapsed_time"), seen.rows


def _not_stravas(what: str) -> UnreadableFile:
    return UnreadableFile(f"{what} is no table of activities: hand over the archive as Strava sent it")


class _Seen:
    """What the cells of a table are like, by column."""

    def __init__(self, header: Sequence[str]) -> None:
        self._width = len(header)
        self.rows = self.ids = self.media = 0
        self.files: Counter[int] = Counter()
        self.flags: Counter[int] = Counter()
        self.others: Counter[int] = Counter()

    def add(self, row: Sequence[str]) -> None:
        self.rows += 1
        if len(row) != self._width:
            return
        self.ids += bool(_ID.fullmatch(row[0].strip()))
        self.media += row[-1].startswith(columns.MEDIA_PATH) or row[-1].strip() == "|"
        for at in _BETWEEN[: self._width - len(FIRST)]:
            cell = row[at].strip()
            if not cell:
                continue
            if cell == EXPORT_FAILED or _RECORDING.fullmatch(cell):
                self.files[at] += 1
            kind = self.flags if cell.casefold() in TRUE | FALSE else self.others
            kind[at] += 1


def _place_of_filename(labels: Sequence[str], seen: _Seen) -> int | None:
    """The column with paths of recordings; of a table without any, what the headers tell."""
    if seen.files:
        return max(seen.files, key=lambda at: (seen.files[at], at))
    for at in _BETWEEN:
        if at < len(labels) and labels[at].casefold() in _FILENAME_WORDS:
            return at
    for at in _BETWEEN:
        # Elapsed time and distance come twice, in every language.
        if at + 5 < len(labels) and labels[at + 3] == labels[5] and labels[at + 5] == labels[6]:
            return at
    return len(labels) - 1 if len(labels) in _WIDTHS_OF_FIRST_HALF else None


def _place_between(found: list[Column | None], at: int, seen: _Seen) -> None:
    between = range(len(FIRST), at)
    usual = _PLACE_OF_COMMUTE.get(at, max(at - 3, len(FIRST)))
    sure = [place for place in between if seen.flags[place] and not seen.others[place]]
    commute = max(sure, key=lambda place: (seen.flags[place], place == usual)) if sure else usual
    before = (columns.SHOWN_MAX_HEARTRATE, columns.SHOWN_EFFORT)
    for place, column in zip(range(commute - 1, len(FIRST) - 1, -1), reversed(before), strict=False):
        found[place] = column
    if commute + 2 < at:
        found[commute + 1] = columns.PRIVATE_NOTE
    if commute + 1 < at:
        found[at - 1] = columns.GEAR_NAME
    found[commute] = columns.COMMUTE
    found[at] = columns.FILENAME


def _place_behind(found: list[Column | None], at: int, labels: Sequence[str]) -> None:
    later = range(at + 1 + _AGREED, len(labels))
    named = {place: column for place in later if (column := _BY_LABEL.get(labels[place]))}
    has_late = len(labels) - at > _WIDTH_WITH_LATE or LATE[0] in named.values()
    behind = BEHIND_FILENAME if has_late else tuple(column for column in BEHIND_FILENAME if column not in LATE)
    for place, column in zip(range(at + 1, len(labels)), behind, strict=False):
        found[place] = column if column not in named.values() else None
    for place, column in named.items():
        found[place] = column


def _is_known_width(labels: Sequence[str]) -> bool:
    return len(labels) in _WIDTHS_WITH_MEDIA


def _label(cell: str) -> str:
    """A header without markup; the key in Strava's own list of words where a translation is missing."""
    untranslated = _UNTRANSLATED.search(cell)
    return untranslated[1] if untranslated else _TAG.sub("", cell).strip()


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(labels)
    return tuple(
        label if label and counts[label] == 1 else f"{label} ({place})".strip()
        for place, label in enumerate(labels, start=1)
    )


def _key(header: str) -> str:
    return header.lower().replace(" ", "_")


_BY_HEADER: Final = {column.header: column for column in BEHIND_FILENAME[_AGREED:]}
_ENGLISH: Final = _BY_HEADER | {old: _BY_HEADER[new] for old, new in OLD_HEADERS.items()}
_BY_LABEL: Final = _ENGLISH | {_key(header): column for header, column in _ENGLISH.items()}
