"""Which records of a file belong to an activity: a file may hold several, or more than its owner kept at Strava."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Recording, Samples, Session

# Distances, m, and their share that differ by rounding only.
SAME_M: Final = 1.0
SAME_SHARE: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What Strava says of an activity; ``None``: nothing. ``start``: UTC."""

    start: datetime | None
    elapsed_s: float | None
    distance_m: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """Samples ``begin`` to ``end`` (without it). ``origin``: where time is 0, s on the clock of the records.

    ``is_by_file``: the activity's start is that record of the file, not the row's start.
    """

    begin: int
    end: int
    origin: float
    is_cropped: bool
    is_by_file: bool


def window_of(recording: Recording, seconds: Samples, distance: Samples | None, row: Row) -> Window:
    """Return what belongs to the activity of a row.

    Of a file with several sessions it is the one that fits the row's start and elapsed time. Strava's start and end
    cut off what its owner cropped, unless the whole file fits the row's distance better, as files of Strava's own app
    do. A clock without a date, or with a date that has nothing to do with the row, counts since its first record.
    """
    begin, end = 0, len(seconds)
    if recording.start is None:
        return _by_first_record(seconds, begin, end, is_start=False)
    if row.start is None or row.elapsed_s is None:
        return _by_first_record(seconds, begin, end, is_start=True)
    start = math.floor(row.start.timestamp())
    session = _fitting_session(recording, seconds, start, row.elapsed_s)
    if session is not None:
        begin, end = session
    first = max(begin, int(np.searchsorted(seconds, start)))
    last = min(end, int(np.searchsorted(seconds, start + row.elapsed_s, side="right")))
    if first >= last:
        return _by_first_record(seconds, begin, end, is_start=False)
    if (first, last) != (begin, end) and _fits_better(recording.kind, distance, (first, last), (begin, end), row):
        begin, end = first, last
    if seconds[begin] < start:
        return _by_first_record(seconds, begin, end, is_start=True)
    return Window(begin, end, start, end - begin < len(seconds), is_by_file=False)


def _by_first_record(seconds: Samples, begin: int, end: int, *, is_start: bool) -> Window:
    return Window(begin, end, float(seconds[begin]), end - begin < len(seconds), is_start)


def _fitting_session(recording: Recording, seconds: Samples, start: float, elapsed_s: float) -> tuple[int, int] | None:
    """Return the samples of the session that fits best; ``None`` if the whole file fits better."""
    best, least = None, abs(seconds[0] - start) + abs(seconds[-1] - seconds[0] - elapsed_s)
    begins = sorted(_begin(session) for session in recording.sessions if session.start is not None)
    for session in recording.sessions if len(begins) > 1 else ():
        if session.start is None or session.elapsed_s is None:
            continue
        misfit = abs(_begin(session) - start) + abs(session.elapsed_s - elapsed_s)
        until = min([_begin(session) + session.elapsed_s, *(other - 1 for other in begins if other > _begin(session))])
        samples = (
            int(np.searchsorted(seconds, _begin(session))),
            int(np.searchsorted(seconds, until, side="right")),
        )
        if misfit < least and samples[0] < samples[1]:
            best, least = samples, misfit
    return best


def _begin(session: Session) -> int:
    return math.floor(session.start.timestamp()) if session.start is not None else 0


def _fits_better(
    kind: FileKind, distance: Samples | None, cropped: tuple[int, int], whole: tuple[int, int], row: Row
) -> bool:
    """Return whether the cropped part fits the row's distance better than the whole.

    Where distance does not tell (a device that stood before and after), FIT and TCX are cropped and GPX is not: of 66
    longer FIT 53 were cropped, of 37 longer GPX of Strava's app 6.
    """
    if distance is not None and row.distance_m is not None:
        of_cropped, of_whole = (
            abs(float(distance[end - 1] - distance[begin]) - row.distance_m) for begin, end in (cropped, whole)
        )
        if abs(of_cropped - of_whole) > max(SAME_M, SAME_SHARE * row.distance_m):
            return of_cropped < of_whole
    return kind is not FileKind.GPX
