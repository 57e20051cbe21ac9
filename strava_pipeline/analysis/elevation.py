"""Elevation: smoothed profile, gain and loss, grades.

The method (smooth, then count gains beyond a threshold) is Strava's, which publishes no thresholds:
https://support.strava.com/hc/en-us/articles/216917087-Elevation-Gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

STEP_M = 10.0
MOST_STEPS = 20_000
# Keyed by "is barometric": barometers resolve decimetres and drift slowly, heights from satellites vary by metres.
SMOOTHING_M = {True: 50.0, False: 150.0}
TURN_THRESHOLD_M = {True: 2.0, False: 5.0}
# Heights whose median change of slope from sample to sample is above this do not come from a barometer.
SATELLITE_JITTER_M = 0.6
# So many changes of slope are enough for the median.
JITTER_SAMPLES = 500
# Grades over shorter distances than this are noise.
GRADE_OVER_M = 50.0
# Lower bounds of the grade distribution, percent.
GRADE_BOUNDS = (-np.inf, -10.0, -6.0, -3.0, -1.0, 1.0, 3.0, 6.0, 10.0)


@dataclass(frozen=True)
class Profile:
    """Smoothed heights at even steps: ``along_m`` (metres from the first sample) and ``altitude_m``, shape (n,)."""

    along_m: Samples
    altitude_m: Samples
    barometric: bool

    @property
    def step_m(self) -> float:
        return float(self.along_m[1] - self.along_m[0])

    @cached_property
    def grades(self) -> Samples:
        """Grade around each step, as a fraction, shape (n,)."""
        reach = max(1, round(GRADE_OVER_M / 2 / self.step_m))
        places = np.arange(len(self.along_m))
        before, after = np.maximum(places - reach, 0), np.minimum(places + reach, len(places) - 1)
        rise = self.altitude_m[after] - self.altitude_m[before]
        return np.asarray(rise / ((after - before) * self.step_m))


def is_barometric(altitude: Samples) -> bool:
    """Whether heights vary from sample to sample as little as those of a barometer or a terrain model."""
    step = max(1, len(altitude) // JITTER_SAMPLES)
    before, here, after = altitude[:-2:step], altitude[1:-1:step], altitude[2::step]
    bends = np.abs((after - here) - (here - before))
    bends.sort()
    # The median, which for an even number lies between two.
    lower, upper = (len(bends) - 1) // 2, len(bends) // 2
    return not len(bends) or float(bends[lower] + bends[upper]) / 2 < SATELLITE_JITTER_M


def elevation_profile(timeline: Timeline) -> Profile | None:
    """Return the elevation profile; ``None`` without altitude, or if the athlete did not move."""
    altitude, along = timeline.track.altitude, timeline.distance_m
    if altitude is None or along is None:
        return None
    known = np.isfinite(altitude)
    if not known.all():
        altitude, along = altitude[known], along[known]
    if len(altitude) < 2 or along[-1] - along[0] < 2 * STEP_M:  # noqa: PLR2004  a profile has two ends
        return None
    steps = min(int((along[-1] - along[0]) / STEP_M), MOST_STEPS)
    grid = np.linspace(along[0], along[-1], steps + 1)
    barometric = is_barometric(altitude)
    heights = np.interp(grid, along, altitude)
    width = SMOOTHING_M[barometric] / (grid[1] - grid[0])
    return Profile(grid, _moving_mean(heights, round(width / 2)), barometric)


def gain_and_loss(timeline: Timeline, profile: Profile | None) -> tuple[float, float] | tuple[None, None]:
    """Return metres up and metres down; a change of direction counts beyond a threshold only (hysteresis)."""
    if profile is not None:
        heights, threshold = profile.altitude_m, TURN_THRESHOLD_M[profile.barometric]
    else:
        altitude = timeline.track.altitude
        if altitude is None or not np.isfinite(altitude).any():
            return None, None
        heights = altitude[np.isfinite(altitude)]
        threshold = TURN_THRESHOLD_M[is_barometric(heights)]
    changes = np.diff(heights[turning_points(heights, threshold)])
    return float(changes.clip(min=0).sum()), float(-changes.clip(max=0).sum())


def turning_points(values: Samples, threshold: float) -> list[int]:
    """Return the indices of alternating lows and highs, each at least ``threshold`` from the next.

    Smaller changes are left out; the list is empty if all changes are smaller.
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
    """Return metres by class of grade: keys such as ``"-3..-1"`` in percent, the first and last class open."""
    if profile is None:
        return {}
    classes = np.searchsorted(GRADE_BOUNDS[1:], profile.grades * 100, side="right")
    metres = np.bincount(classes, minlength=len(GRADE_BOUNDS)) * profile.step_m
    bounds = [*GRADE_BOUNDS, np.inf]
    return {
        f"{low:g}..{high:g}".replace("-inf", "").replace("inf", ""): float(length)
        for low, high, length in zip(bounds[:-1], bounds[1:], metres, strict=True)
    }


def _moving_mean(values: Samples, reach: int) -> Samples:
    """Return the moving mean over ``reach`` steps on either side.

    Near the ends the window shrinks on both sides alike, so that even slopes are kept.
    """
    reach = min(reach, (len(values) - 1) // 2)
    width = 2 * reach + 1
    widths = np.arange(1, width, 2)
    first = np.cumsum(values[: width - 1])[::2] / widths
    last = np.cumsum(values[::-1][: width - 1])[::2] / widths
    return np.concatenate((first, np.convolve(values, np.full(width, 1 / width), "valid"), last[::-1]))
