"""Heights along the way: smoothed profile, gain and loss, grades.

Strava describes the same method (smooth, then count gains beyond a threshold):
https://support.strava.com/hc/en-us/articles/216917087-Elevation-Gain; it does not tell the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

STEP_M = 10.0
MOST_STEPS = 20_000
# Barometers resolve decimetres and drift slowly; heights from satellites wander by metres.
SMOOTHED_OVER_M = {True: 50.0, False: 150.0}
TURN_M = {True: 2.0, False: 5.0}
# Median change of slope from sample to sample above which a height cannot come from a barometer.
SATELLITE_JITTER_M = 0.6
# So many changes tell it as well as all of them.
BENDS = 500
# Grades of less length than this are noise.
GRADE_OVER_M = 50.0
# Lower bounds of the grade distribution, percent.
GRADE_BOUNDS = (-np.inf, -10.0, -6.0, -3.0, -1.0, 1.0, 3.0, 6.0, 10.0)


@dataclass(frozen=True)
class Profile:
    """Smoothed heights at even steps: ``along_m`` (from the first sample) and ``altitude_m`` of shape (n,)."""

    along_m: Samples
    altitude_m: Samples
    barometric: bool

    @property
    def step_m(self) -> float:
        return float(self.along_m[1] - self.along_m[0])

    @cached_property
    def grades(self) -> Samples:
        """Rise over run around each step, as a fraction, shape (n,)."""
        reach = max(1, round(GRADE_OVER_M / 2 / self.step_m))
        places = np.arange(len(self.along_m))
        before, after = np.maximum(places - reach, 0), np.minimum(places + reach, len(places) - 1)
        rise = self.altitude_m[after] - self.altitude_m[before]
        return np.asarray(rise / ((after - before) * self.step_m))


def is_barometric(altitude: Samples) -> bool:
    """Whether heights jitter as little as a barometer's (or a terrain model's) do."""
    step = max(1, len(altitude) // BENDS)
    before, here, after = altitude[:-2:step], altitude[1:-1:step], altitude[2::step]
    bends = np.abs((after - here) - (here - before))
    bends.sort()
    # The median, which for an even number lies between two.
    lower, upper = (len(bends) - 1) // 2, len(bends) // 2
    return not len(bends) or float(bends[lower] + bends[upper]) / 2 < SATELLITE_JITTER_M


def profile_of(timeline: Timeline) -> Profile | None:
    """Heights along the way; ``None`` without altitude, or on the spot."""
    altitude, along = timeline.track.altitude, timeline.way
    if altitude is None or along is None:
        return None
    known = np.isfinite(altitude)
    if not known.all():
        altitude, along = altitude[known], along[known]
    if len(altitude) < 2 or along[-1] - along[0] < 2 * STEP_M:  # noqa: PLR2004  a way has two ends
        return None
    steps = min(int((along[-1] - along[0]) / STEP_M), MOST_STEPS)
    grid = np.linspace(along[0], along[-1], steps + 1)
    barometric = is_barometric(altitude)
    heights = np.interp(grid, along, altitude)
    width = SMOOTHED_OVER_M[barometric] / (grid[1] - grid[0])
    return Profile(grid, _smoothed(heights, round(width / 2)), barometric)


def gain_and_loss(timeline: Timeline, profile: Profile | None) -> tuple[float, float] | tuple[None, None]:
    """Metres up and metres down; a turn counts once it exceeds the threshold (hysteresis)."""
    if profile is not None:
        heights, threshold = profile.altitude_m, TURN_M[profile.barometric]
    else:
        altitude = timeline.track.altitude
        if altitude is None or not np.isfinite(altitude).any():
            return None, None
        heights = altitude[np.isfinite(altitude)]
        threshold = TURN_M[is_barometric(heights)]
    changes = np.diff(heights[turning_points(heights, threshold)])
    return float(changes.clip(min=0).sum()), float(-changes.clip(max=0).sum())


def turning_points(values: Samples, threshold: float) -> list[int]:
    """Indices of lows and highs in turn, each at least ``threshold`` from the next; none if nothing changes so much.

    The rise of an even slope is counted whole, that of a jitter below the threshold not at all.
    """
    changes = values[1:] - values[:-1]
    steps = changes.nonzero()[0]
    if not len(steps):
        return []
    up = changes[steps] > 0
    extremes = [0, *steps[1:][up[1:] != up[:-1]].tolist(), len(values) - 1]
    heights = values[extremes].tolist()
    points: list[int] = []
    rising: bool | None = None
    low = high = 0
    for place, height in enumerate(heights):
        if rising is not True:
            if height <= heights[low]:
                low = place
            elif height - heights[low] >= threshold:
                points.append(extremes[low])
                rising, high = True, place
                continue
        if rising is not False:
            if height >= heights[high]:
                high = place
            elif heights[high] - height >= threshold:
                points.append(extremes[high])
                rising, low = False, place
    if rising is not None:
        points.append(extremes[high if rising else low])
    return points


def grade_distribution(profile: Profile | None) -> dict[str, float]:
    """Metres ridden by grade: keys such as ``"-3..-1"`` in percent, the ends open."""
    if profile is None:
        return {}
    classes = np.searchsorted(GRADE_BOUNDS[1:], profile.grades * 100, side="right")
    metres = np.bincount(classes, minlength=len(GRADE_BOUNDS)) * profile.step_m
    bounds = [*GRADE_BOUNDS, np.inf]
    return {
        f"{low:g}..{high:g}".replace("-inf", "").replace("inf", ""): float(length)
        for low, high, length in zip(bounds[:-1], bounds[1:], metres, strict=True)
    }


def _smoothed(values: Samples, reach: int) -> Samples:
    """Mean over ``reach`` steps on either side, over fewer but as many on both towards the ends: slopes stay slopes."""
    reach = min(reach, (len(values) - 1) // 2)
    width = 2 * reach + 1
    widths = np.arange(1, width, 2)
    first = np.cumsum(values[: width - 1])[::2] / widths
    last = np.cumsum(values[::-1][: width - 1])[::2] / widths
    return np.concatenate((first, np.convolve(values, np.full(width, 1 / width), "valid"), last[::-1]))
