"""The key figures of a track: length, times, climbing, speed, heart rate, power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.track import Samples, Track

EARTH_RADIUS_M = 6_371_008.8
# A rise counts once it exceeds what barometers and GPS jitter by.
CLIMB_THRESHOLD_M = 2.0
# Slower than this a sample without a moving flag counts as standing.
STANDING_MPS = 0.5


@dataclass(frozen=True)
class Figures:
    """Key figures; ``None`` where the samples for one are missing. Units are in the names."""

    point_count: int
    distance_m: float | None
    elapsed_time_s: float | None
    moving_time_s: float | None
    elevation_gain_m: float | None
    elevation_loss_m: float | None
    average_speed_mps: float | None
    max_speed_mps: float | None
    average_heartrate_bpm: float | None
    max_heartrate_bpm: float | None
    average_power_w: float | None
    max_power_w: float | None


def key_figures(track: Track) -> Figures:
    """All key figures of a track of any length, gaps included; never raises."""
    with np.errstate(all="ignore"):
        return _key_figures(track)


def _key_figures(track: Track) -> Figures:
    steps = _time_steps(track)
    distance = _length(track)
    speed = _speed(track, steps)
    moving_time = _moving_time(track, steps, speed)
    gain, loss = _climbed(track.altitude)
    return Figures(
        point_count=track.point_count,
        distance_m=distance,
        elapsed_time_s=None if steps is None else float(np.sum(steps)),
        moving_time_s=moving_time,
        elevation_gain_m=gain,
        elevation_loss_m=loss,
        average_speed_mps=distance / moving_time if distance is not None and moving_time else None,
        max_speed_mps=_highest(speed),
        average_heartrate_bpm=_mean_over_time(track.heart_rate, steps),
        max_heartrate_bpm=_highest(track.heart_rate),
        average_power_w=_mean_over_time(track.power, steps),
        max_power_w=_highest(track.power),
    )


def haversine_m(latitude: Samples, longitude: Samples) -> Samples:
    """Lengths between neighbouring positions: degrees in, shape (n,); metres out, shape (n - 1,).

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984).
    """
    phi, lam = np.radians(latitude), np.radians(longitude)
    chord = np.sin(np.diff(phi) / 2) ** 2 + np.cos(phi[:-1]) * np.cos(phi[1:]) * np.sin(np.diff(lam) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))


def _time_steps(track: Track) -> Samples | None:
    """Seconds from each sample to the next, shape (n - 1,); a clock that goes back counts as zero.

    Missing times lie evenly between their neighbours.
    """
    if track.time is None or not np.isfinite(track.time).any():
        return None
    known = np.flatnonzero(np.isfinite(track.time))
    times = np.interp(np.arange(len(track.time)), known, track.time[known])
    return np.clip(np.diff(times), 0, None)


def _length(track: Track) -> float | None:
    if track.distance is not None and np.isfinite(track.distance).any():
        return float(np.nanmax(track.distance))
    if track.latitude is None or track.longitude is None:
        return None
    known = np.isfinite(track.latitude) & np.isfinite(track.longitude)
    if not known.any():
        return None
    return float(np.sum(haversine_m(track.latitude[known], track.longitude[known])))


def _speed(track: Track, steps: Samples | None) -> Samples | None:
    """The recorded speed, or the one that follows from distance and time, in m/s."""
    if track.speed is not None:
        return track.speed
    if track.distance is None or steps is None:
        return None
    speed = np.where(steps > 0, np.diff(track.distance) / steps, np.nan)
    return np.concatenate(([np.nan], speed))


def _moving_time(track: Track, steps: Samples | None, speed: Samples | None) -> float | None:
    if steps is None:
        return None
    if track.moving is not None:
        return float(np.sum(steps[track.moving[1:] > 0]))
    if speed is not None:
        return float(np.sum(steps[speed[1:] >= STANDING_MPS]))
    return float(np.sum(steps))


def _climbed(altitude: Samples | None) -> tuple[float, float] | tuple[None, None]:
    """Metres up and metres down, a turn counting once it exceeds the threshold (hysteresis)."""
    if altitude is None or not np.isfinite(altitude).any():
        return None, None
    known = altitude[np.isfinite(altitude)]
    gain = loss = 0.0
    anchor = known[0]
    for height in known[1:]:
        change = height - anchor
        if change >= CLIMB_THRESHOLD_M:
            gain, anchor = gain + change, height
        elif change <= -CLIMB_THRESHOLD_M:
            loss, anchor = loss - change, height
    return float(gain), float(loss)


def _mean_over_time(samples: Samples | None, steps: Samples | None) -> float | None:
    """Each sample counts for the time until the next; without times, all count alike."""
    if samples is None or not np.isfinite(samples).any():
        return None
    known = np.isfinite(samples)
    weights = np.ones(len(samples))
    if steps is not None and np.sum(steps) > 0:
        weights = np.append(steps, 0.0)
    total = float(np.sum(weights[known]))
    if total == 0:
        return float(np.mean(samples[known]))
    return float(np.sum(samples[known] * weights[known]) / total)


def _highest(samples: Samples | None) -> float | None:
    if samples is None or not np.isfinite(samples).any():
        return None
    return float(np.nanmax(samples))
