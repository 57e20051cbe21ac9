"""Best efforts: over distances, and over durations for power, heart rate and speed (the power curve).

A mean-maximal curve after Allen and Coggan, "Training and Racing with a Power Meter", 3rd ed. (2019), ch. 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Indices, Samples

DISTANCES_M = (
    400.0, 804.672, 1_000.0, 1_609.344, 3_218.688, 5_000.0, 10_000.0, 15_000.0, 16_093.44, 20_000.0, 21_097.5,
    30_000.0, 42_195.0,
)  # fmt: skip
DURATIONS_S = (
    5, 10, 15, 20, 30, 60, 90, 120, 180, 300, 480, 600, 900, 1_200, 1_800, 2_700, 3_600, 5_400, 7_200,
)  # fmt: skip
_STEP_M = 5.0
_MOST_STEPS = 40_000


@dataclass(frozen=True)
class DistanceEffort:
    """The fastest stretch of ``distance_m``: its time, halts included, and where it began."""

    distance_m: float
    elapsed_time_s: float
    start_s: float
    start_m: float


@dataclass(frozen=True)
class CurvePoint:
    """The best means over ``duration_s`` seconds and when each began; ``None`` where a sensor was missing."""

    duration_s: int
    power_w: float | None
    power_start_s: float | None
    heart_rate_bpm: float | None
    heart_rate_start_s: float | None
    speed_mps: float | None
    speed_start_s: float | None


def distance_efforts(timeline: Timeline) -> tuple[DistanceEffort, ...]:
    """The fastest stretch of each standard distance the activity is long enough for."""
    if timeline.along is None or timeline.seconds is None:
        return ()
    along = timeline.along - timeline.along[0]
    total = float(along[-1])
    if total < DISTANCES_M[0]:
        return ()
    step = max(_STEP_M, total / _MOST_STEPS)
    grid = np.arange(0.0, total + step, step)
    # When each place was first reached, and when it was left: halts at either end of a stretch do not count.
    first, last = _first_and_last(along)
    reached = np.interp(grid, along[first], timeline.seconds[first])
    left = np.interp(grid, along[last], timeline.seconds[last])
    found = []
    for distance in DISTANCES_M:
        whole = int(distance / step)
        part = distance / step - whole
        if distance > total or len(grid) <= whole + 1:
            break
        ends = reached[whole:-1] * (1 - part) + reached[whole + 1 :] * part
        took = ends - left[: len(ends)]
        took = took[: max(1, int((total - distance) / step) + 1)]
        place = int(took.argmin())
        if took[place] > 0:
            found.append(DistanceEffort(distance, float(took[place]), float(left[place]), float(grid[place])))
    return tuple(found)


def curve(timeline: Timeline) -> tuple[CurvePoint, ...]:
    """Best means for each standard duration the recording is long enough for; missing seconds count as 0."""
    series = [timeline.power_each_second, timeline.heart_rate_each_second, timeline.speed_each_second]
    present = [place for place, samples in enumerate(series) if samples is not None and np.isfinite(samples).any()]
    if not present:
        return ()
    stacked = np.nan_to_num(np.stack([s for s in series if s is not None and np.isfinite(s).any()]), posinf=0.0)
    totals = np.zeros((len(stacked), stacked.shape[1] + 1))
    np.cumsum(stacked, axis=1, out=totals[:, 1:])
    found = []
    buffer = np.empty_like(stacked)
    for duration in DURATIONS_S:
        width = int(duration / timeline.cell_s)
        if width < 1 or width > stacked.shape[1]:
            continue
        sums = buffer[:, : totals.shape[1] - width]
        np.subtract(totals[:, width:], totals[:, :-width], out=sums)
        places = sums.argmax(axis=1)
        values: list[float | None] = [None] * 6
        for row, which in enumerate(present):
            best = float(sums[row, places[row]] / width)
            values[2 * which : 2 * which + 2] = [best, float(places[row] * timeline.cell_s)]
        found.append(CurvePoint(duration, *values))
    return tuple(found)


def _first_and_last(along: Samples) -> tuple[Indices, Indices]:
    """Indices of the first and of the last sample at each place."""
    moved = np.diff(along) > 0
    first = np.flatnonzero(np.concatenate(([True], moved)))
    last = np.flatnonzero(np.concatenate((moved, [True])))
    return first, last
