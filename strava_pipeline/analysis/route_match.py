"""Comparison of two routes: whether they are equal, and in which direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.geo import project_m, unwrap_longitude
from strava_pipeline.analysis.track import Samples

SIGNATURE_POINTS = 128
# Two recordings of one route differ in length by small detours and by the device.
LENGTH_TOLERANCE = 0.08
# How far a point may lie beside the other line: the width of a street and the error of GPS, or a share of the distance
# between points, since a straight line between two points cuts the bends.
NEAR_M = 60.0
NEAR_SHARE = 0.25
MIN_SHARED = 0.9


@dataclass(frozen=True, eq=False)
class Signature:
    """Positions at even distances (latitude and longitude, degrees, shape (n, 2)), and the length of the route."""

    points: Samples
    length_m: float


@dataclass(frozen=True)
class Match:
    """A match of two routes. ``shared``: share of the points of each route that lie on the other, 0 to 1."""

    shared: float
    reversed: bool


def match_routes(one: Signature, other: Signature) -> Match | None:
    """Compare two routes; returns ``None`` if they are different.

    90 % of the points of each line must lie near the other line. The order of the nearest stretches shows the
    direction; out and back on one road has no direction, and is not ``reversed``.
    """
    longer = max(one.length_m, other.length_m)
    if longer <= 0 or abs(one.length_m - other.length_m) > LENGTH_TOLERANCE * longer:
        return None
    ours, theirs = _projected(one, other)
    near = max(NEAR_M, NEAR_SHARE * longer / max(1, len(ours) - 1))
    away, places = _distances_to_line(ours, theirs)
    shared = float(np.mean(away <= near))
    if shared < MIN_SHARED:
        return None
    shared = min(shared, float(np.mean(_distances_to_line(theirs, ours)[0] <= near)))
    if shared < MIN_SHARED:
        return None
    return Match(shared, _is_reversed(ours, theirs, places))


def _projected(one: Signature, other: Signature) -> tuple[Samples, Samples]:
    longitudes = unwrap_longitude(np.concatenate((one.points[:, 1], other.points[:, 1])))
    latitudes = np.concatenate((one.points[:, 0], other.points[:, 0]))
    centre = (float(latitudes.mean()), float(longitudes.mean()))
    both = np.stack(project_m(latitudes, longitudes, centre), axis=1)
    return both[: len(one.points)], both[len(one.points) :]


def _distances_to_line(points: Samples, line: Samples) -> tuple[Samples, Samples]:
    """Return the distance of each point from a line, m, and the index of the nearest stretch."""
    begins, chords = line[:-1], np.diff(line, axis=0)
    squared = (chords**2).sum(axis=1)
    scale = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0)
    away_east = points[:, None, 0] - begins[None, :, 0]
    away_north = points[:, None, 1] - begins[None, :, 1]
    share = np.clip((away_east * chords[:, 0] + away_north * chords[:, 1]) * scale, 0, 1)
    distances = (away_east - share * chords[:, 0]) ** 2 + (away_north - share * chords[:, 1]) ** 2
    nearest = distances.argmin(axis=1)
    return np.sqrt(distances[np.arange(len(points)), nearest]), nearest


def _is_reversed(ours: Samples, theirs: Samples, places: Samples) -> bool:
    """Whether most steps lead to an earlier stretch of the other line, and the reversed points fit better."""
    steps = np.sign(np.diff(places)).sum()
    if len(ours) != len(theirs):
        return bool(steps < 0)
    forth = np.hypot(*(ours - theirs).T).mean()
    back = np.hypot(*(ours - theirs[::-1]).T).mean()
    return bool(steps < 0 and back < forth)
