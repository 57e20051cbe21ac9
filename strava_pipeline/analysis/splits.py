"""Splits per kilometre and per mile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import means_between, number
from strava_pipeline.analysis.elevation import Profile
from strava_pipeline.analysis.grade_adjusted import flat_metres
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

# Named as Strava names its own.
UNITS_M = {"metric": 1_000.0, "standard": 1_609.344}
MOST_SPLITS = 5_000
# A rest shorter than this is no split.
SHORTEST_REST_M = 10.0


@dataclass(frozen=True)
class Split:
    """One kilometre (``unit`` metric) or mile (standard), counted from 1; the last one is what remains.

    ``grade_adjusted_speed_mps`` is for running.
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


def splits(timeline: Timeline, profile: Profile | None) -> tuple[Split, ...]:
    """All splits of both units; none without times or a way."""
    if timeline.along is None or timeline.seconds is None or len(timeline.along) == 0:
        return ()
    along = timeline.along - timeline.along[0]
    return tuple(
        split for unit, length in UNITS_M.items() for split in _of_unit(timeline, profile, along, unit, length)
    )


def _of_unit(timeline: Timeline, profile: Profile | None, along: Samples, unit: str, length: float) -> list[Split]:
    total = float(along[-1])
    if total < SHORTEST_REST_M or total / length > MOST_SPLITS:
        return []
    bounds = np.arange(0.0, total, length)
    if total - bounds[-1] >= SHORTEST_REST_M:
        bounds = np.append(bounds, total)
    if len(bounds) < 2:  # noqa: PLR2004  a split has two ends
        return []
    # Whoever stands on a boundary stands at the end of the split.
    reached = np.interp(bounds, along, _seconds(timeline))
    reached[0], reached[-1] = 0.0, timeline.elapsed_s
    moved = np.interp(reached, _seconds(timeline), _moving_seconds(timeline))
    indices = np.searchsorted(_seconds(timeline), reached)
    distances, elapsed, moving = np.diff(bounds), np.diff(reached), np.diff(moved)
    rises, flat = _heights(profile, bounds)
    speed = np.divide(distances, moving, out=np.full(len(moving), np.nan), where=moving > 0)
    adjusted = np.divide(flat, moving, out=np.full(len(moving), np.nan), where=moving > 0)
    track, weights = timeline.track, timeline.weights
    heart_rate, power, cadence = (
        means_between(series, weights, indices[:-1], indices[1:])
        for series in (track.heart_rate, track.power, track.cadence)
    )
    columns = (distances, elapsed, moving, rises, speed, adjusted, heart_rate, power, cadence)
    return [
        Split(unit, place + 1, float(row[0]), float(row[1]), float(row[2]), *map(number, row[3:]))
        for place, row in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]


def _seconds(timeline: Timeline) -> Samples:
    return timeline.seconds if timeline.seconds is not None else np.empty(0)


def _moving_seconds(timeline: Timeline) -> Samples:
    """Seconds in motion up to each sample, shape (n,)."""
    if timeline.moving is None or timeline.steps is None:
        return _seconds(timeline)
    return np.concatenate(([0.0], np.cumsum(timeline.steps * timeline.moving)))


def _heights(profile: Profile | None, bounds: Samples) -> tuple[Samples, Samples]:
    """Metres up and metres on the flat for each split."""
    if profile is None:
        nothing = np.full(len(bounds) - 1, np.nan)
        return nothing, nothing
    rises = np.diff(np.interp(bounds, profile.along_m, profile.altitude_m))
    return rises, np.diff(np.interp(bounds, profile.along_m, flat_metres(profile)))
