"""Climbs and descents of an activity.

A climb is a stretch on which the profile rises above a line of 2 % grade; a descent is its mirror image.
Categories after Strava, https://support.strava.com/hc/en-us/articles/216917057-Climb-Categorization: length in
metres times average grade in percent; at least 300 m long and 3 % steep.
VAM (metres climbed per hour) after M. Ferrari, https://www.53x12.com.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import means_between
from strava_pipeline.analysis.elevation import Profile, turning_points
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Indices

# A climb ends where it is flatter than LINE_GRADE for more than BREAK_M / LINE_GRADE metres, or dips by BREAK_M.
LINE_GRADE = 0.02
BREAK_M = 10.0
SHORTEST_M = 300.0
LEAST_GRADE = 0.03
# This is a gain of 15 m.
LEAST_SCORE = 1_500.0
STEEPEST_OVER_M = 100.0
CATEGORIES = (("HC", 80_000.0), ("1", 64_000.0), ("2", 32_000.0), ("3", 16_000.0), ("4", 8_000.0))


@dataclass(frozen=True)
class Slope:
    """A climb, or a descent (with negative ``change_m`` and grades). Units are in the names.

    ``category``: HC, 1, 2, 3, 4 or ``None``; ``vam_m_per_h``: metres climbed per hour; indices are of samples.
    """

    start_m: float
    end_m: float
    start_index: int
    end_index: int
    start_s: float | None
    elapsed_time_s: float | None
    length_m: float
    change_m: float
    average_grade_percent: float
    max_grade_percent: float
    category: str | None
    vam_m_per_h: float | None
    average_speed_mps: float | None
    average_power_w: float | None
    average_heartrate_bpm: float | None


def climbs(timeline: Timeline, profile: Profile | None) -> tuple[Slope, ...]:
    """Return the climbs in the order in which they were ridden; none without a profile."""
    return _slopes(timeline, profile, 1.0)


def descents(timeline: Timeline, profile: Profile | None) -> tuple[Slope, ...]:
    """Return the descents in the order in which they were ridden; none without a profile."""
    return _slopes(timeline, profile, -1.0)


def climb_category(length_m: float, gain_m: float) -> str | None:
    """Return the category of a climb, or ``None`` if the climb is too short, too flat or too small."""
    score = 100 * gain_m
    if length_m < SHORTEST_M or gain_m < LEAST_GRADE * length_m:
        return None
    return next((name for name, least in CATEGORIES if score > least), None)


def _slopes(timeline: Timeline, profile: Profile | None, sign: float) -> tuple[Slope, ...]:
    if profile is None or timeline.along is None:
        return ()
    heights = sign * profile.altitude_m
    tilted = heights - LINE_GRADE * profile.along_m
    points = np.array(turning_points(tilted, BREAK_M), dtype=np.intp)
    begins, ends = points[:-1], points[1:]
    up = tilted[ends] > tilted[begins]
    begins, ends = begins[up], ends[up]
    lengths = profile.along_m[ends] - profile.along_m[begins]
    gains = heights[ends] - heights[begins]
    kept = (lengths >= SHORTEST_M) & (gains >= LEAST_GRADE * lengths) & (100 * gains >= LEAST_SCORE)
    if not kept.any():
        return ()
    return _slope_figures(timeline, profile, begins[kept], ends[kept], sign)


def _slope_figures(
    timeline: Timeline, profile: Profile, begins: Indices, ends: Indices, sign: float
) -> tuple[Slope, ...]:
    along = timeline.distance_m if timeline.distance_m is not None else np.empty(0)
    start_m, end_m = profile.along_m[begins], profile.along_m[ends]
    first = np.searchsorted(along, start_m)
    last = np.minimum(np.searchsorted(along, end_m), len(along) - 1)
    power = means_between(timeline.sums.get("power"), first, last)
    heart_rate = means_between(timeline.sums.get("heart_rate"), first, last)
    found = []
    for place in range(len(begins)):
        begin, end, low, high = int(begins[place]), int(ends[place]), int(first[place]), int(last[place])
        length, change = (
            float(end_m[place] - start_m[place]),
            float(profile.altitude_m[end] - profile.altitude_m[begin]),
        )
        took = None if timeline.seconds is None else float(timeline.seconds[high] - timeline.seconds[low])
        found.append(
            Slope(
                start_m=float(start_m[place]),
                end_m=float(end_m[place]),
                start_index=low,
                end_index=high,
                start_s=None if timeline.seconds is None else float(timeline.seconds[low]),
                elapsed_time_s=took,
                length_m=length,
                change_m=change,
                average_grade_percent=100 * change / length,
                max_grade_percent=100 * sign * _max_grade(profile, begin, end, sign),
                category=climb_category(length, change),
                vam_m_per_h=3600 * change / took if took else None,
                average_speed_mps=length / took if took else None,
                average_power_w=power[place],
                average_heartrate_bpm=heart_rate[place],
            )
        )
    return tuple(found)


def _max_grade(profile: Profile, begin: int, end: int, sign: float) -> float:
    """Return the grade of the steepest hundred metres, as a fraction."""
    reach = min(max(1, round(STEEPEST_OVER_M / profile.step_m)), end - begin)
    heights = sign * profile.altitude_m[begin : end + 1]
    return float((heights[reach:] - heights[:-reach]).max() / (reach * profile.step_m))
