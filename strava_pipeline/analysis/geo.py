"""Lengths and shapes on the globe."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.track import Samples

EARTH_RADIUS_M = 6_371_008.8
_RADIANS = np.pi / 180
# Radians, some six kilometres.
SMALL_STEP = 0.001
_METRES_PER_DEGREE = np.pi * EARTH_RADIUS_M / 180


def haversine_m(latitude: Samples, longitude: Samples) -> Samples:
    """Lengths between neighbouring positions: degrees in, shape (n,); metres out, shape (n - 1,).

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984); mean Earth radius of the IUGG.
    """
    phi, lam = latitude * _RADIANS, longitude * _RADIANS
    cosine = np.cos(phi)
    north, east = phi[1:] - phi[:-1], lam[1:] - lam[:-1]
    if len(north) and max(north.max(), -north.min(), east.max(), -east.min()) < SMALL_STEP:
        # So small an angle is its sine but for a ten-millionth.
        return np.asarray(EARTH_RADIUS_M * np.sqrt(north * north + cosine[:-1] * cosine[1:] * east * east))
    chord = np.sin(north / 2) ** 2 + cosine[:-1] * cosine[1:] * np.sin(east / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))


def unwrapped(longitude: Samples) -> Samples:
    """Longitudes without the step at the antimeridian: degrees, no neighbours further apart than 180."""
    steps = np.diff(longitude)
    if not len(steps) or np.abs(steps).max() <= 180:  # noqa: PLR2004  half a turn
        return longitude
    return np.asarray(longitude - 360 * np.concatenate(([0.0], np.cumsum(np.round(steps / 360)))))


def projected_m(latitude: Samples, longitude: Samples, centre: tuple[float, float]) -> tuple[Samples, Samples]:
    """East and north of ``centre`` (latitude, longitude), metres; equirectangular: good within 100 km of it.

    Longitudes come unwrapped. Source: J. P. Snyder, "Map Projections: A Working Manual", USGS PP 1395 (1987), ch. 12.
    """
    east = (longitude - centre[1]) * (_METRES_PER_DEGREE * np.cos(np.radians(centre[0])))
    return east, (latitude - centre[0]) * _METRES_PER_DEGREE
