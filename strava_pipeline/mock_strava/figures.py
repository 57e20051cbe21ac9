"""Figures of a stretch of samples, for activities, laps, splits and efforts alike."""

from __future__ import annotations

import numpy as np

from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.tracks import Flags, Integers, Track

HIGH_EFFORT_BPM = 188
ROLLING_S = 30


def distance_between(track: Track, first: int, last: int) -> float:
    """Return the metres from one sample to another."""
    return round(float(track.distance[last] - track.distance[first]), 1)


def moving_between(track: Track, first: int, last: int) -> int:
    """Return the moving time from one sample to another, s."""
    inside = slice(first + 1, last + 1)
    return int(track.steps[inside][track.moving[inside]].sum())


def elapsed_between(track: Track, first: int, last: int) -> int:
    """Return the elapsed time from one sample to another, s."""
    return int(track.time[last] - track.time[first])


def gain_between(track: Track, first: int, last: int) -> float:
    """Return the metres climbed from one sample to another; 0 without altitude."""
    if track.altitude is None:
        return 0.0
    rises = np.diff(track.altitude[first : last + 1])
    return round(float(rises[rises > 0].sum()), 1)


def speed_over(distance_m: float, seconds: int, digits: int = 3) -> float:
    """Return the mean speed in m/s; 0 if no time has passed."""
    return round(distance_m / seconds, digits) if seconds else 0.0


def means_between(track: Track, first: int, last: int) -> JsonObject:
    """Return the recorded ones of cadence, power and heart rate of a stretch, under Strava's names."""
    inside = slice(first, last + 1)
    moving = track.moving[inside]
    found: JsonObject = {}
    if track.cadence is not None:
        found["average_cadence"] = _mean(track.cadence[inside], track.cadence[inside] > 0)
    found["device_watts"] = track.watts is not None
    if track.watts is not None:
        found["average_watts"] = _mean(track.watts[inside], moving)
    if track.heartrate is not None:
        found["average_heartrate"] = round(float(track.heartrate[inside].mean()), 1)
        found["max_heartrate"] = float(track.heartrate[inside].max())
    return found


def weighted_watts(watts: Integers) -> int:
    """Return normalized power (W): fourth root of the mean fourth power of 30 s means.

    Source: Allen and Coggan, "Training and Racing with a Power Meter".
    """
    if len(watts) < ROLLING_S:
        return round(float(watts.mean()))
    total = np.append(0.0, np.cumsum(watts))
    rolling = (total[ROLLING_S:] - total[:-ROLLING_S]) / ROLLING_S
    return round(float(np.mean(rolling**4) ** 0.25))


def suffer_score(average_bpm: float, moving_s: int) -> float:
    """Return a score that grows with time and heart rate, as Strava's does."""
    return float(round(moving_s / 60 * (average_bpm / HIGH_EFFORT_BPM) ** 3 * 1.6))


def calories(track: Track, weight_kg: float) -> float:
    """Return kilocalories: from work if power was recorded, else from weight and distance."""
    if track.watts is not None:
        moving = moving_between(track, 0, len(track.time) - 1)
        return round(_mean(track.watts, track.moving) * moving / 1000 * 1.1, 1)
    return round(weight_kg * float(track.distance[-1]) / 1000, 1)


def _mean(values: Integers, chosen: Flags) -> float:
    return round(float(values[chosen].mean()), 1) if chosen.any() else 0.0
