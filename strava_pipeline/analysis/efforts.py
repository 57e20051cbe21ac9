"""Best efforts over standard distances, and over standard durations for power, heart rate and speed.

The latter is a mean-maximal curve, after Allen and Coggan, "Training and Racing with a Power Meter", 3rd ed. (2019),
ch. 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import cumulative_sum
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Indices, Samples

DISTANCES_M = (
    400.0, 804.672, 1_000.0, 1_609.344, 3_218.688, 5_000.0, 10_000.0, 15_000.0, 16_093.44, 20_000.0, 21_097.5,
    30_000.0, 42_195.0,
)  # fmt: skip
DURATIONS_S = (
    5, 10, 15, 20, 30, 60, 90, 120, 180, 300, 480, 600, 900, 1_200, 1_800, 2_700, 3_600, 5_400, 7_200,
)  # fmt: skip
_NO_BEST = (None, None)
_STEP_M = 5.0
_MOST_STEPS = 40_000


@dataclass(frozen=True)
class DistanceEffort:
    """The fastest stretch of ``distance_m``: its time with halts, and when and where it began."""

    distance_m: float
    elapsed_time_s: float
    start_s: float
    start_m: float


@dataclass(frozen=True)
class CurvePoint:
    """The best means over ``duration_s`` seconds, and when each began; ``None`` where a sensor was missing."""

    duration_s: int
    power_w: float | None
    power_start_s: float | None
    heart_rate_bpm: float | None
    heart_rate_start_s: float | None
    speed_mps: float | None
    speed_start_s: float | None


def distance_efforts(timeline: Timeline) -> tuple[DistanceEffort, ...]:
    """Return the fastest stretch of each standard distance; longer distances than the activity's are left out."""
    along = timeline.distance_m
    if along is None or timeline.seconds is None:
        return ()
    total = float(along[-1])
    if total < DISTANCES_M[0]:
        return ()
    step = max(_STEP_M, total / _MOST_STEPS)
    grid = np.arange(0.0, total + step, step)
    # When each place was first reached and last left, so that halts at either end of a stretch do not count.
    first, last = _first_and_last(along)
    reached = np.interp(grid, along[first], timeline.seconds[first])
    left = np.interp(grid, along[last], timeline.seconds[last])
    found = []
    for distance in DISTANCES_M:
        whole = int(distance / step)
        part = distance / step - whole
        if distance > total or len(grid) <= whole + 1:
            break
        starts = min(len(grid) - whole - 1, max(1, int((total - distance) / step) + 1))
        ends = reached[whole : whole + starts]
        if part > 0:
            ends = ends * (1 - part) + reached[whole + 1 : whole + 1 + starts] * part
        took = ends - left[:starts]
        place = int(took.argmin())
        if took[place] > 0:
            found.append(DistanceEffort(distance, float(took[place]), float(left[place]), float(grid[place])))
    return tuple(found)


def mean_maximal_curve(timeline: Timeline) -> tuple[CurvePoint, ...]:
    """Return the best means for each standard duration; durations longer than the recording are left out.

    Missing seconds count as 0.
    """
    series = (timeline.power_each_second, timeline.heart_rate_each_second, timeline.speed_each_second)
    columns = [_best_means(samples, timeline.cell_s) for samples in series]
    return tuple(
        CurvePoint(duration, *power, *heart_rate, *speed)
        for duration, power, heart_rate, speed in zip(DURATIONS_S, *columns, strict=True)
        if (power, heart_rate, speed) != (_NO_BEST,) * 3
    )


def _best_means(samples: Samples | None, cell_s: float) -> list[tuple[float | None, float | None]]:
    """Return the best mean of each standard duration and when it began, s; ``samples`` on the grid, shape (m,)."""
    if samples is None:
        return [_NO_BEST] * len(DURATIONS_S)
    known = np.isfinite(samples)
    if not known.all():
        if not known.any():
            return [_NO_BEST] * len(DURATIONS_S)
        samples = np.where(known, samples, 0.0)
    totals = cumulative_sum(samples)
    buffer = np.empty_like(samples)
    found: list[tuple[float | None, float | None]] = []
    for duration in DURATIONS_S:
        width = int(duration / cell_s)
        if width < 1 or width > len(samples):
            found.append(_NO_BEST)
            continue
        sums = np.subtract(totals[width:], totals[:-width], out=buffer[: len(totals) - width])
        place = int(sums.argmax())
        found.append((float(sums[place]) / width, place * cell_s))
    return found


def _first_and_last(along: Samples) -> tuple[Indices, Indices]:
    """Return the indices of the first and of the last sample at each place."""
    moves = (along[1:] > along[:-1]).nonzero()[0]
    return np.concatenate(([0], moves + 1)), np.append(moves, len(along) - 1)
