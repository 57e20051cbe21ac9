"""Distances and projections on the globe."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.track import Indices, Samples

EARTH_RADIUS_M = 6_371_008.8
_RADIANS = np.pi / 180
# In radians; about six kilometres.
SMALL_STEP = 0.001
# In radians; about 120 kilometres.
SERIES_REACH = 0.02
_METRES_PER_DEGREE = np.pi * EARTH_RADIUS_M / 180


def haversine_m(latitude: Samples, longitude: Samples) -> Samples:
    """Return the distances between neighbouring positions: degrees in, shape (n,); metres out, shape (n - 1,).

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984); mean Earth radius of the IUGG.
    """
    phi = latitude * _RADIANS
    north, east = phi[1:] - phi[:-1], (longitude[1:] - longitude[:-1]) * _RADIANS
    cosine = _cosine(phi)
    if len(north) and max(north.max(), -north.min(), east.max(), -east.min()) < SMALL_STEP:
        # So small an angle differs from its sine by less than a ten-millionth.
        east *= east
        east *= cosine[:-1]
        east *= cosine[1:]
        north *= north
        north += east
        return np.asarray(EARTH_RADIUS_M * np.sqrt(north))
    chord = np.sin(north / 2) ** 2 + cosine[:-1] * cosine[1:] * np.sin(east / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))


def _cosine(phi: Samples) -> Samples:
    """Return the cosines of latitudes (radians), from a series (good to 11 digits) if they are near each other."""
    if not len(phi):
        return phi
    low, high = phi.min(), phi.max()
    if not high - low < 2 * SERIES_REACH:
        return np.asarray(np.cos(phi))
    middle = (low + high) / 2
    sine, cosine = np.sin(middle), np.cos(middle)
    apart = phi - middle
    series = apart * (cosine / 24)
    for coefficient in (sine / 6, -cosine / 2, -sine):
        series += coefficient
        series *= apart
    series += cosine
    return np.asarray(series)


def known_positions(latitude: Samples, longitude: Samples) -> Indices:
    """Return the indices of the samples with a position."""
    known = np.isfinite(latitude + longitude)
    return np.arange(len(known)) if known.all() else known.nonzero()[0]


def select(samples: Samples, places: Indices) -> Samples:
    """Return the samples at ascending indices ``places``; the array itself, uncopied, if these are all."""
    return samples if len(places) == len(samples) else samples[places]


def unwrap_longitude(longitude: Samples) -> Samples:
    """Return longitudes without the step at the antimeridian: degrees, neighbours at most 180 apart."""
    steps = np.diff(longitude)
    if not len(steps) or max(steps.max(), -steps.min()) <= 180:  # noqa: PLR2004  half a turn
        return longitude
    return np.asarray(longitude - 360 * np.concatenate(([0.0], np.cumsum(np.round(steps / 360)))))


def project_m(latitude: Samples, longitude: Samples, centre: tuple[float, float]) -> tuple[Samples, Samples]:
    """Return metres east and north of ``centre`` (latitude, longitude), good within 100 km of it (equirectangular).

    Longitudes must be unwrapped.
    Source: J. P. Snyder, "Map Projections: A Working Manual", USGS PP 1395 (1987), ch. 12.
    """
    east = (longitude - centre[1]) * (_METRES_PER_DEGREE * np.cos(np.radians(centre[0])))
    return east, (latitude - centre[0]) * _METRES_PER_DEGREE
