"""Simplification of a line to few points, and the turns on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.analysis.track import Indices, Samples

Line = NDArray[np.complex128]

TOLERANCE_M = 10.0
TURN_DEGREES = 45.0
# A stretch whose ends lie nearer is closed: to divide by its length could overflow.
SHORTEST_CHORD_M = 1e-9


def simplify(east: Samples, north: Samples, tolerance_m: float = TOLERANCE_M) -> Indices:
    """Return the indices of points whose line passes within ``tolerance_m`` of all others; metres in, shape (n,).

    Each pass splits all stretches at once instead of recursing.
    Source: D. H. Douglas and T. K. Peucker, "Algorithms for the reduction of the number of points required to
    represent a digitized line", Cartographica 10 (1973).
    """
    count = len(east)
    if count < 3:  # noqa: PLR2004  nothing lies between two points
        return np.arange(count)
    line = east + 1j * north
    kept = np.zeros(count, dtype=np.bool_)
    kept[[0, -1]] = True
    begins, ends = np.array([0]), np.array([count - 1])
    while len(begins):
        # The inner points of all stretches, concatenated.
        sizes = ends - begins - 1
        starts = np.cumsum(sizes) - sizes
        points = np.arange(starts[-1] + sizes[-1]) + (begins + 1 - starts).repeat(sizes)
        chords = line[ends] - line[begins]
        distances = _squared_distances(line[points] - line[begins].repeat(sizes), chords, sizes)
        furthest = np.maximum.reduceat(distances, starts)
        # The distances of a closed stretch are in metres, those of any other in lengths of its chord.
        far = furthest > (tolerance_m / _distance_units(chords)) ** 2
        if not far.any():
            break
        # Split each stretch at its furthest point, the first if there are several, where that is too far away.
        hits = (distances == np.where(far, furthest, np.inf).repeat(sizes)).nonzero()[0]
        splits = points[hits[np.searchsorted(hits, starts[far])]]
        kept[splits] = True
        begins, ends = np.concatenate((begins[far], splits)), np.concatenate((splits, ends[far]))
        inner = ends - begins > 1
        begins, ends = begins[inner], ends[inner]
    return np.flatnonzero(kept)


def count_turns(east: Samples, north: Samples) -> tuple[int, int]:
    """Return the numbers of left and right turns of at least 45 degrees on a simplified line, metres in."""
    # A stretch without length has no bearing.
    moves = np.hypot(np.diff(east), np.diff(north)) > 0
    angles = np.degrees(np.arctan2(np.diff(east)[moves], np.diff(north)[moves]))
    bends = (np.diff(angles) + 180) % 360 - 180
    return int(np.count_nonzero(bends <= -TURN_DEGREES)), int(np.count_nonzero(bends >= TURN_DEGREES))


def _squared_distances(offsets: Line, chords: Line, sizes: Indices) -> Samples:
    """Return the squared distance of each point from the chord of its stretch, in squares of the chord's length.

    ``offsets``: points relative to the begin of their stretch, changed in place; ``sizes``: points per stretch.
    """
    # Each stretch is turned and scaled so that its chord runs from 0 to 1: then the real part of a point is its share
    # of the chord, the imaginary part its distance. A closed stretch has no chord and is left as it is.
    closed = np.abs(chords) < SHORTEST_CHORD_M
    offsets *= (1 / np.where(closed, 1.0, chords)).repeat(sizes)
    share, aside = offsets.real, offsets.imag
    beyond = share - share.clip(0.0, np.where(closed, 0.0, 1.0).repeat(sizes) if closed.any() else 1.0)
    return np.asarray(beyond * beyond + aside * aside)


def _distance_units(chords: Line) -> Samples:
    """Return the unit of :func:`_squared_distances` for each stretch, m."""
    lengths = np.abs(chords)
    return np.where(lengths < SHORTEST_CHORD_M, 1.0, lengths)
