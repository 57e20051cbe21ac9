"""Generated samples of outings, one per second, as a watch or a bike computer would record them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.mock_strava.routes import Route, Samples

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

HEART_DELAY_S = 60
WOBBLE_S = 45
SPEED_WIDTH_S = 3
SPRINTS = 4
SPRINT_S = 8
COASTING_GRADE = -0.03
POOL_M = 25.0
# Devices store altitudes as whole fifths of a metre.
ALTITUDE_STEP_M = 0.2


@dataclass(frozen=True)
class Effort:
    """The properties of an outing: speed on the flat, m/s; FTP, W (``None``: no power meter); heart rates, bpm.

    ``hill_factor``: how strongly a grade reduces speed; ``load``: share of the athlete's maximum; ``cadence``: turns of
    a leg per minute (``None``: not recorded).
    """

    flat_mps: float
    hill_factor: float
    fastest_mps: float
    standing_mps: float
    load: float
    ftp_w: int | None
    resting_bpm: int
    highest_bpm: int
    cadence: float | None
    temperature_c: float | None


@dataclass(frozen=True)
class Track:
    """Samples of an outing, each array of shape (n,), rounded as Strava serves them; ``None``: not recorded.

    Units: time s, distance m, degrees, altitude m, velocity m/s, heartrate bpm, cadence per minute, watts W,
    temp °C, grade %.
    """

    time: Integers
    distance: Samples
    velocity: Samples
    moving: Flags
    latitude: Samples | None = None
    longitude: Samples | None = None
    altitude: Samples | None = None
    grade: Samples | None = None
    heartrate: Integers | None = None
    cadence: Integers | None = None
    watts: Integers | None = None
    temp: Integers | None = None

    @property
    def steps(self) -> Integers:
        """Seconds since the previous sample, shape (n,)."""
        return np.diff(self.time, prepend=self.time[0])

    @property
    def positions(self) -> Samples | None:
        """Latitude and longitude, degrees, shape (n, 2)."""
        if self.latitude is None or self.longitude is None:
            return None
        return np.column_stack((self.latitude, self.longitude))

    def series(self) -> dict[str, list[Any]]:
        """Return the samples of each recorded stream, under Strava's names."""
        arrays = {
            "time": self.time,
            "distance": self.distance,
            "latlng": self.positions,
            "altitude": self.altitude,
            "velocity_smooth": self.velocity,
            "heartrate": self.heartrate,
            "cadence": self.cadence,
            "watts": self.watts,
            "temp": self.temp,
            "moving": self.moving,
            "grade_smooth": self.grade,
        }
        return {name: values.tolist() for name, values in arrays.items() if values is not None}


def generate_outdoor_track(route: Route, effort: Effort, rng: np.random.Generator) -> Track:
    """Generate an outing once around a route, with hills, a few stops and one pause of the device."""
    time, along = _progress(route, effort, rng)
    grade, height = (np.interp(along, route.along_m, values) for values in (route.grade, route.altitude_m))
    return replace(
        _common_streams(time, along, grade, effort, rng),
        latitude=np.round(np.interp(along, route.along_m, route.latitude), 6),
        longitude=np.round(np.interp(along, route.along_m, route.longitude), 6),
        # In the steps of a FIT file.
        altitude=np.round(np.round(height / ALTITUDE_STEP_M) * ALTITUDE_STEP_M, 1),
        grade=np.round(100 * grade, 1),
    )


def generate_indoor_track(seconds: int, effort: Effort, rng: np.random.Generator) -> Track:
    """Generate an outing on a trainer, without positions and altitude."""
    time = np.arange(seconds + 1)
    speed = effort.flat_mps * (1 + 0.06 * _noise(rng, len(time)))
    return _common_streams(time, np.cumsum(speed) - speed[0], np.zeros(len(time)), effort, rng)


def generate_pool_track(lengths: int, effort: Effort, rng: np.random.Generator) -> Track:
    """Generate a swim of ``lengths`` lengths of 25 m, with a rest after each eighth."""
    each = np.round(POOL_M / effort.flat_mps * rng.normal(1.0, 0.04, lengths))
    rests = np.where(np.arange(1, lengths + 1) % 8 == 0, rng.integers(15, 40, lengths), 0)
    rests[-1] = 0
    ends = np.cumsum(each + rests)
    moments = np.stack((ends - rests, ends)).T.ravel()
    covered = np.repeat(np.arange(1, lengths + 1) * POOL_M, 2)
    time = np.arange(int(ends[-1]) + 1)
    along = np.interp(time, np.append(0, moments), np.append(0, covered))
    return _common_streams(time, along, np.zeros(len(time)), effort, rng)


def _progress(route: Route, effort: Effort, rng: np.random.Generator) -> tuple[Integers, Samples]:
    """Return the seconds since the start, and the metres along the route at these times."""
    wobble = 1 + 0.06 * _noise(rng, len(route.along_m))
    speed = effort.flat_mps * np.exp(-effort.hill_factor * route.grade)
    speed = np.clip(speed, effort.standing_mps * 3, effort.fastest_mps) * wobble
    seconds = np.append(0.0, np.cumsum(2 * np.diff(route.along_m) / (speed[1:] + speed[:-1])))
    count = int(rng.integers(2, 6))
    places = np.sort(rng.choice(np.arange(20, len(seconds) - 20), count, replace=False))
    waits = rng.integers(20, 120, count)
    for place, wait in zip(places, waits, strict=True):
        seconds[place:] += wait
    time = np.arange(int(seconds[-1]) + 1)
    # The device pauses at the first stop only, so that samples are missing there.
    paused = (time > seconds[places[0] - 1] + 3) & (time < seconds[places[0]] - 2)
    time = time[~paused]
    return time, np.interp(time, seconds, route.along_m)


def _common_streams(time: Integers, along: Samples, slope: Samples, effort: Effort, rng: np.random.Generator) -> Track:
    """Return the streams that every outing has; ``slope`` is the grade as a fraction."""
    speed = np.append(0.0, np.diff(along) / np.diff(time))
    moving = speed > effort.standing_mps
    # Effort follows the grade; downhill and at stops there is none.
    strain = effort.load * (1 + 3.5 * slope) * (1 + 0.12 * _noise(rng, len(time))) * moving
    coasting = (slope < COASTING_GRADE) & (effort.ftp_w is not None)
    strain = np.clip(np.where(coasting, 0.0, strain), 0.0, 1.6)
    return Track(
        time=time,
        distance=np.round(along, 1),
        velocity=np.round(_moving_mean(speed, SPEED_WIDTH_S) * moving, 3),
        moving=moving,
        heartrate=_heart_rate(strain, effort, time),
        cadence=_cadence(effort, rng, strain),
        watts=None if effort.ftp_w is None else _power(strain, effort.ftp_w, rng),
        temp=None if effort.temperature_c is None else _temperature(effort.temperature_c, time),
    )


def _heart_rate(strain: Samples, effort: Effort, time: Integers) -> Integers:
    followed = _moving_mean(strain, HEART_DELAY_S)
    warm = 1 - 0.35 * np.exp(-time / 180)
    share = np.clip((0.35 + 0.6 * followed) * warm, 0.0, 1.0)
    return _rounded(effort.resting_bpm + (effort.highest_bpm - effort.resting_bpm) * share)


def _cadence(effort: Effort, rng: np.random.Generator, strain: Samples) -> Integers | None:
    if effort.cadence is None:
        return None
    return _rounded(np.where(strain > 0, rng.normal(effort.cadence, 2.5, len(strain)), 0.0))


def _power(strain: Samples, ftp_w: int, rng: np.random.Generator) -> Integers:
    """Return power, W: proportional to the strain, with noise and a few sprints."""
    count = len(strain)
    near = np.abs(np.arange(count)[:, None] - rng.integers(0, count, SPRINTS)).min(axis=1)
    sprints = 1 + 2.2 * np.exp(-((near / SPRINT_S) ** 2))
    return _rounded(np.clip(ftp_w * strain * sprints * rng.normal(1.0, 0.12, count), 0.0, 4.0 * ftp_w))


def _temperature(start_c: float, time: Integers) -> Integers:
    return _rounded(start_c + 3 * np.sin(time / 5000))


def _noise(rng: np.random.Generator, count: int) -> Samples:
    """Return smooth noise around 0, mostly between -1 and 1."""
    knots = rng.normal(0.0, 0.6, count // WOBBLE_S + 2)
    return np.interp(np.arange(count) / WOBBLE_S, np.arange(len(knots)), knots)


def _moving_mean(values: Samples, width: int) -> Samples:
    """Return the mean of the last ``width`` samples, of fewer at the start."""
    total = np.append(0.0, np.cumsum(values))
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - width, 0)
    means: Samples = np.maximum(total[ends] - total[begins], 0.0) / (ends - begins)
    return means


def _rounded(values: Samples) -> Integers:
    return np.round(values).astype(np.int64)
