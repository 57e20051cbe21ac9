"""The records of a recording in order of time, one a second at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.files.recording import Recording, Samples

# A recording of which fewer records tell a time is a plan or a drawing.
LEAST_TIMED: Final = 0.5
# A record whose time is further from the middle one was written before the clock was set.
FURTHEST_S: Final = 30 * 86_400.0
SERIES: Final = (
    "latitude", "longitude", "altitude", "distance", "speed", "heartrate", "cadence", "watts", "temp"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Records:
    """Series of shape (n,) by name, NaN where missing; a name that no record tells is absent.

    ``seconds``: whole s, strictly ascending, since 1970 where the clock had a date, else since the first record.
    ``places``: the record of each sample, as an index into the recording. ``epoch_s``: what added to a time of the
    recording gives ``seconds``.
    """

    seconds: Samples
    places: NDArray[np.intp]
    series: dict[str, Samples]
    epoch_s: float


def in_order(recording: Recording) -> Records | None:
    """Return the records that have a time, ascending; ``None`` if too few have one.

    Strava's times are whole seconds, cut. Of several records in one second the first counts; what it lacks is taken
    from the next one. Records of another month than most are left out.
    """
    known = np.flatnonzero(np.isfinite(recording.time))
    if not len(known) or len(known) < LEAST_TIMED * recording.record_count:
        return None
    epoch = recording.start.timestamp() if recording.start else -float(recording.time[known].min())
    seconds = np.floor(recording.time[known] + epoch)
    if np.ptp(seconds) > FURTHEST_S:
        middle = np.sort(seconds)[len(seconds) // 2]
        near = np.abs(seconds - middle) <= FURTHEST_S
        known, seconds = known[near], seconds[near]
    firsts = np.arange(len(known))
    if not (np.diff(seconds) > 0).all():
        order = np.argsort(seconds, kind="stable")
        known = known[order]
        seconds, firsts = np.unique(seconds[order], return_index=True)
    series = {}
    for name in SERIES:
        values: Samples | None = getattr(recording, name)
        if values is not None and np.isfinite(values[known]).any():
            series[name] = _first_known(values[known], firsts)
    return Records(seconds, known[firsts], series, epoch)


def _first_known(values: Samples, firsts: NDArray[np.intp]) -> Samples:
    """Return the first known value of each group of neighbours, given where the groups begin."""
    if len(firsts) == len(values):
        return values
    none = len(values)
    places = np.minimum.reduceat(np.where(np.isfinite(values), np.arange(none), none), firsts)
    return np.append(values, math.nan)[places]
