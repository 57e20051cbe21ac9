"""Splits per kilometre and per mile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from strava_pipeline.analysis.averages import means_between, ratios
from strava_pipeline.analysis.elevation import Profile
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

# The units have Strava's names.
UNITS_M = {"metric": 1_000.0, "standard": 1_609.344}
MOST_SPLITS = 5_000
SENSORS = ("heart_rate", "power", "cadence")
# A shorter remainder is no split.
SHORTEST_REMAINDER_M = 10.0


@dataclass(frozen=True)
class Split:
    """One kilometre (``unit`` metric) or mile (``unit`` standard), counted from 1; the last split is the remainder.

    ``grade_adjusted_speed_mps`` is valid for running only.
    """

    unit: str
    split: int
    distance_m: float
    elapsed_time_s: float
    moving_time_s: float
    elevation_difference_m: float | None
    average_speed_mps: float | None
    grade_adjusted_speed_mps: float | None
    average_heartrate_bpm: float | None
    average_power_w: float | None
    average_cadence_rpm: float | None


def splits(timeline: Timeline, profile: Profile | None, flat: Samples | None) -> tuple[Split, ...]:
    """Return the splits of both units; none without times or distances.

    ``flat``: grade-adjusted distance along the profile, m.
    """
    along = timeline.distance_m
    if along is None or timeline.seconds is None or len(along) == 0:
        return ()
    return tuple(
        split
        for unit, length in UNITS_M.items()
        for split in _splits_of_unit(timeline, (profile, flat), along, unit, length)
    )


def _splits_of_unit(
    timeline: Timeline, heights: tuple[Profile | None, Samples | None], along: Samples, unit: str, length: float
) -> list[Split]:
    total = float(along[-1])
    if total < SHORTEST_REMAINDER_M or total / length > MOST_SPLITS:
        return []
    bounds = np.arange(0.0, total, length)
    if total - bounds[-1] >= SHORTEST_REMAINDER_M:
        bounds = np.append(bounds, total)
    if len(bounds) < 2:  # noqa: PLR2004  a split has two ends
        return []
    # A halt on a boundary belongs to the split that ends there.
    reached = np.interp(bounds, along, _seconds(timeline))
    reached[0], reached[-1] = 0.0, timeline.elapsed_s
    moving_seconds = timeline.moving_seconds
    moved = reached if moving_seconds is None else np.interp(reached, _seconds(timeline), moving_seconds)
    indices = np.searchsorted(_seconds(timeline), reached)
    distances, elapsed, moving = np.diff(bounds), np.diff(reached), np.diff(moved)
    rises, flat = _heights(*heights, bounds)
    columns: tuple[list[Any], ...] = (
        distances.tolist(),
        elapsed.tolist(),
        moving.tolist(),
        rises,
        ratios(distances, moving),
        ratios(flat, moving),
        *(means_between(timeline.sums.get(sensor), indices[:-1], indices[1:]) for sensor in SENSORS),
    )
    return [Split(unit, place, *row) for place, row in enumerate(zip(*columns, strict=True), start=1)]


def _seconds(timeline: Timeline) -> Samples:
    return timeline.seconds if timeline.seconds is not None else np.empty(0)


def _heights(profile: Profile | None, flat: Samples | None, bounds: Samples) -> tuple[list[float | None], Samples]:
    """Return the difference in elevation and the grade-adjusted distance of each split, m."""
    if profile is None or flat is None:
        return [None] * (len(bounds) - 1), np.full(len(bounds) - 1, np.nan)
    rises: list[float | None] = np.diff(np.interp(bounds, profile.along_m, profile.altitude_m)).tolist()
    return rises, np.diff(np.interp(bounds, profile.along_m, flat))
