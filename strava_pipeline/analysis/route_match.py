"""Whether two ways are the same route, and in the same direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.geo import projected_m, unwrapped
from strava_pipeline.analysis.track import Samples

SIGNATURE_POINTS = 128
# Lengths of the same route differ by detours to the kerb and by the device.
LENGTH_TOLERANCE = 0.08
# How far a point may lie beside the other line: a street and its GPS, or a part of the distance between points,
# since a straight line between two of them cuts the bends.
NEAR_M = 60.0
NEAR_SHARE = 0.25
LEAST_SHARED = 0.9


@dataclass(frozen=True, eq=False)
class Signature:
    """Positions at even distances (latitude and longitude, degrees, shape (n, 2)), and the length of the way."""

    points: Samples
    length_m: float


@dataclass(frozen=True)
class Match:
    """``shared``: part of the points of each that lie on the other, 0 to 1; ``reversed``: the other way round."""

    shared: float
    reversed: bool


def match(one: Signature, other: Signature) -> Match | None:
    """How two ways match; ``None`` if they are different routes.

    Each point of one line has to lie near the other line, and the order in which that is passed tells the direction;
    a way out and back along the same road has only one.
    """
    longer = max(one.length_m, other.length_m)
    if longer <= 0 or abs(one.length_m - other.length_m) > LENGTH_TOLERANCE * longer:
        return None
    ours, theirs = _projected(one, other)
    near = max(NEAR_M, NEAR_SHARE * longer / max(1, len(ours) - 1))
    away, places = _onto(ours, theirs)
    shared = float(np.mean(away <= near))
    if shared < LEAST_SHARED:
        return None
    shared = min(shared, float(np.mean(_onto(theirs, ours)[0] <= near)))
    if shared < LEAST_SHARED:
        return None
    return Match(shared, _runs_back(ours, theirs, places))


def _projected(one: Signature, other: Signature) -> tuple[Samples, Samples]:
    longitudes = unwrapped(np.concatenate((one.points[:, 1], other.points[:, 1])))
    latitudes = np.concatenate((one.points[:, 0], other.points[:, 0]))
    centre = (float(latitudes.mean()), float(longitudes.mean()))
    both = np.stack(projected_m(latitudes, longitudes, centre), axis=1)
    return both[: len(one.points)], both[len(one.points) :]


def _onto(points: Samples, line: Samples) -> tuple[Samples, Samples]:
    """Distance of each point from a line, m, and the number of the nearest stretch."""
    begins, chords = line[:-1], np.diff(line, axis=0)
    squared = (chords**2).sum(axis=1)
    scale = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0)
    away_east = points[:, None, 0] - begins[None, :, 0]
    away_north = points[:, None, 1] - begins[None, :, 1]
    share = np.clip((away_east * chords[:, 0] + away_north * chords[:, 1]) * scale, 0, 1)
    distances = (away_east - share * chords[:, 0]) ** 2 + (away_north - share * chords[:, 1]) ** 2
    nearest = distances.argmin(axis=1)
    return np.sqrt(distances[np.arange(len(points)), nearest]), nearest


def _runs_back(ours: Samples, theirs: Samples, places: Samples) -> bool:
    """Most steps lead to an earlier stretch of the other line, and the points in reverse order fit better."""
    steps = np.sign(np.diff(places)).sum()
    if len(ours) != len(theirs):
        return bool(steps < 0)
    forth = np.hypot(*(ours - theirs).T).mean()
    back = np.hypot(*(ours - theirs[::-1]).T).mean()
    return bool(steps < 0 and back < forth)
