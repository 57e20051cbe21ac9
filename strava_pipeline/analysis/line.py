"""A line with few points that runs like the recorded one, and the turns on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.analysis.track import Indices, Samples

Line = NDArray[np.complex128]

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
    line = east + 1j * north
    kept = np.zeros(count, dtype=np.bool_)
    kept[[0, -1]] = True
    begins, ends = np.array([0]), np.array([count - 1])
    while len(begins):
        # The inner points of every stretch, one after the other.
        sizes = ends - begins - 1
        starts = np.cumsum(sizes) - sizes
        points = np.arange(starts[-1] + sizes[-1]) + (begins + 1 - starts).repeat(sizes)
        chords = line[ends] - line[begins]
        distances = _from_chords(line[points] - line[begins].repeat(sizes), chords, sizes)
        furthest = np.maximum.reduceat(distances, starts)
        # A stretch of one point and back is measured in metres, any other in lengths of its chord.
        far = furthest > (tolerance_m / _lengths(chords)) ** 2
        if not far.any():
            break
        # The first of the furthest points of each stretch, where that is too far away.
        hits = (distances == np.where(far, furthest, np.inf).repeat(sizes)).nonzero()[0]
        splits = points[hits[np.searchsorted(hits, starts[far])]]
        kept[splits] = True
        begins, ends = np.concatenate((begins[far], splits)), np.concatenate((splits, ends[far]))
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


def _from_chords(offsets: Line, chords: Line, sizes: Indices) -> Samples:
    """Squared distance of each point from the chord of its stretch, in squares of the chord's length.

    ``offsets``: points seen from the begin of their stretch; a stretch has so many of them: ``sizes``.
    """
    # Turned and scaled so that its chord is the way from 0 to 1, a point tells its share and its distance at once;
    # a closed stretch is left as it is, and all of its points belong to 0.
    closed = chords == 0
    offsets *= (1 / np.where(closed, 1.0, chords)).repeat(sizes)
    share, aside = offsets.real, offsets.imag
    beyond = share - share.clip(0.0, np.where(closed, 0.0, 1.0).repeat(sizes) if closed.any() else 1.0)
    return np.asarray(beyond * beyond + aside * aside)


def _lengths(chords: Line) -> Samples:
    """The unit of :func:`_from_chords` for each stretch, m."""
    lengths = np.abs(chords)
    return np.where(lengths == 0, 1.0, lengths)
