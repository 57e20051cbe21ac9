"""Generated routes for rides and runs: closed loops with hills and segments, equal on each call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

SEED = 20_261_101
STEP_M = 10.0
METRES_PER_DEGREE = 111_194.9
_CORNERS = 720
_SHORTEST_HILL_M = 800.0
_HIGHEST_HILL_M = 120.0
_HILLS = 5


@dataclass(frozen=True)
class StartPoint:
    """The point where an athlete starts: degrees, and metres above the sea."""

    latitude: float
    longitude: float
    altitude_m: float


@dataclass(frozen=True)
class Terrain:
    """A kind of routes: lengths in m; ``steepness``: the steepest grade of one wave of hills, as a fraction."""

    number: int
    shortest_m: float
    longest_m: float
    steepness: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a route, from ``start_m`` to ``end_m`` along it."""

    id: int
    name: str
    start_m: float
    end_m: float


@dataclass(frozen=True)
class Route:
    """A closed loop, sampled every ten metres: arrays of shape (n,), positions in degrees, ``grade`` as a fraction."""

    along_m: Samples
    latitude: Samples
    longitude: Samples
    altitude_m: Samples
    grade: Samples
    segments: tuple[Segment, ...]

    @property
    def length_m(self) -> float:
        return float(self.along_m[-1])


RIDE = Terrain(number=1, shortest_m=25_000, longest_m=70_000, steepness=0.020)
RUN = Terrain(number=2, shortest_m=5_000, longest_m=15_000, steepness=0.010)
TRAIL = Terrain(number=3, shortest_m=6_000, longest_m=14_000, steepness=0.035)
_SEGMENT_NAMES = ("Côte du Moulin", "The Wall", "Café Sprint", 'Old Mill "mur"', "Ridge Road", "Dam to Bridge 🌉")


@lru_cache(maxsize=64)
def generate_route(owner: int, home: StartPoint, terrain: Terrain, number: int) -> Route:
    """Return the route ``number`` of this kind of an athlete."""
    rng = np.random.default_rng([SEED, owner, terrain.number, number])
    length = float(rng.integers(int(terrain.shortest_m), int(terrain.longest_m)))
    along = np.append(np.arange(0.0, length, STEP_M), length)
    east, north = _loop(rng, along)
    altitude, grade = _hills(rng, along, terrain.steepness)
    return Route(
        along_m=along,
        latitude=home.latitude + north / METRES_PER_DEGREE,
        longitude=home.longitude + east / (METRES_PER_DEGREE * np.cos(np.radians(home.latitude))),
        altitude_m=home.altitude_m + altitude - min(float(altitude.min()) + home.altitude_m, 0.0),
        grade=grade,
        segments=_segments(rng, owner, terrain, number, length),
    )


def _loop(rng: np.random.Generator, along: Samples) -> tuple[Samples, Samples]:
    """Return metres east and north of the start: a circle with waves, scaled to the length of the route."""
    angle = np.linspace(0.0, 2 * np.pi, _CORNERS)
    waves = np.arange(2, 8)[:, None]
    heights = rng.normal(0.0, 0.45, (6, 1)) / waves
    phases = rng.uniform(0.0, 2 * np.pi, (6, 1))
    radius = np.maximum(1.0 + np.sum(heights * np.cos(waves * angle + phases), axis=0), 0.25)
    turn = rng.uniform(0.0, 2 * np.pi)
    east, north = radius * np.cos(angle + turn), radius * np.sin(angle + turn)
    covered = np.append(0.0, np.cumsum(np.hypot(np.diff(east), np.diff(north))))
    scale = along[-1] / covered[-1]
    wanted = along / scale
    return scale * (np.interp(wanted, covered, east) - east[0]), scale * (np.interp(wanted, covered, north) - north[0])


def _hills(rng: np.random.Generator, along: Samples, steepness: float) -> tuple[Samples, Samples]:
    """Return altitude above the start (m) and grade, from whole waves only, so that the loop ends at its start."""
    length = along[-1]
    most = max(int(length / _SHORTEST_HILL_M), 2)
    counts = np.unique(np.geomspace(1, most, _HILLS).astype(int))[:, None]
    lengths = length / counts
    heights = np.minimum(steepness * lengths / (2 * np.pi), _HIGHEST_HILL_M) * rng.uniform(0.6, 1.0, counts.shape)
    phases = rng.uniform(0.0, 2 * np.pi, counts.shape)
    turns = 2 * np.pi * along / lengths + phases
    altitude = np.sum(heights * (np.sin(turns) - np.sin(phases)), axis=0)
    grade = np.sum(heights * 2 * np.pi / lengths * np.cos(turns), axis=0)
    return altitude, grade


def _segments(
    rng: np.random.Generator, owner: int, terrain: Terrain, number: int, length: float
) -> tuple[Segment, ...]:
    count = len(_SEGMENT_NAMES)
    starts = (np.arange(count) + rng.uniform(0.1, 0.4, count)) * length / count
    ends = starts + rng.uniform(0.2, 0.5, count) * length / count
    first = owner % 100_000 * 1000 + terrain.number * 100 + number * 10
    return tuple(
        Segment(first + place, name, float(starts[place]), float(ends[place]))
        for place, name in enumerate(_SEGMENT_NAMES)
    )
