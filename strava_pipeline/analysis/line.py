"""A line with few points that runs like the recorded one, and the turns on it."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.track import Indices, Samples

TOLERANCE_M = 10.0
TURN_DEGREES = 45.0


def simplified(east: Samples, north: Samples, tolerance_m: float = TOLERANCE_M) -> Indices:
    """Indices of the points that keep the line within ``tolerance_m`` of all others; metres in, shape (n,).

    All stretches of a level are split at once, so nothing recurses.
    Source: D. H. Douglas and T. K. Peucker, "Algorithms for the reduction of the number of points required to
    represent a digitized line", Cartographica 10 (1973).
    """
    count = len(east)
    if count < 3:  # noqa: PLR2004  nothing lies between two points
        return np.arange(count)
    kept = np.zeros(count, dtype=np.bool_)
    kept[[0, -1]] = True
    begins, ends = np.array([0]), np.array([count - 1])
    while len(begins):
        # The inner points of every stretch, one after the other.
        sizes = ends - begins - 1
        starts = np.cumsum(sizes) - sizes
        stretch = np.repeat(np.arange(len(begins)), sizes)
        points = np.arange(len(stretch)) - starts[stretch] + begins[stretch] + 1
        distances = _from_chords(east, north, points, begins, ends, stretch)
        furthest = np.maximum.reduceat(distances, starts)
        far = furthest > tolerance_m * tolerance_m
        if not far.any():
            break
        hits = np.flatnonzero(distances == furthest[stretch])
        splits = points[hits[np.searchsorted(stretch[hits], np.flatnonzero(far))]]
        kept[splits] = True
        begins = np.stack((begins[far], splits), axis=1).ravel()
        ends = np.stack((splits, ends[far]), axis=1).ravel()
        inner = ends - begins > 1
        begins, ends = begins[inner], ends[inner]
    return np.flatnonzero(kept)


def turns(east: Samples, north: Samples) -> tuple[int, int]:
    """Turns of at least 45 degrees to the left and to the right on a simplified line, metres in."""
    # Bearings of stretches of no length mean nothing.
    moves = np.hypot(np.diff(east), np.diff(north)) > 0
    angles = np.degrees(np.arctan2(np.diff(east)[moves], np.diff(north)[moves]))
    bends = (np.diff(angles) + 180) % 360 - 180
    return int(np.count_nonzero(bends <= -TURN_DEGREES)), int(np.count_nonzero(bends >= TURN_DEGREES))


def _from_chords(
    east: Samples, north: Samples, points: Indices, begins: Indices, ends: Indices, stretch: Indices
) -> Samples:
    """Squared distance of each point from the chord of its stretch."""
    chord_east, chord_north = east[ends] - east[begins], north[ends] - north[begins]
    squared = chord_east**2 + chord_north**2
    scale = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0)
    away_east, away_north = east[points] - east[begins][stretch], north[points] - north[begins][stretch]
    chord_east, chord_north = chord_east[stretch], chord_north[stretch]
    share = np.clip((away_east * chord_east + away_north * chord_north) * scale[stretch], 0, 1)
    return np.asarray((away_east - share * chord_east) ** 2 + (away_north - share * chord_north) ** 2)
