"""Time in heart rate and power zones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples


@dataclass(frozen=True)
class ZoneTime:
    """Seconds in one zone, from ``low`` up to ``high`` (``None``: open); ``kind``: heart_rate (bpm) or power (W)."""

    kind: str
    zone: int
    low: float
    high: float | None
    time_s: float


def zone_times(timeline: Timeline, athlete: Athlete) -> tuple[ZoneTime, ...]:
    """Return the recorded time in each zone; a kind without samples or zones is left out."""
    track = timeline.track
    return (
        *_in_zones("heart_rate", track.heart_rate, timeline, athlete.heart_zones),
        *_in_zones("power", track.power, timeline, athlete.power_zones),
    )


def _in_zones(kind: str, samples: Samples | None, timeline: Timeline, lows: tuple[float, ...]) -> list[ZoneTime]:
    if samples is None or not lows or not timeline.elapsed_s:
        return []
    known, weights = np.isfinite(samples), timeline.weights
    if not known.all():
        if not known.any():
            return []
        samples, weights = samples[known], weights[known]
    places = np.searchsorted(lows[1:], samples, side="right")
    times = np.bincount(places, weights=weights, minlength=len(lows)).tolist()
    highs = (*lows[1:], None)
    return [
        ZoneTime(kind, place + 1, low, high, time)
        for place, (low, high, time) in enumerate(zip(lows, highs, times, strict=True))
    ]
