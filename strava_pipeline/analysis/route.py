"""The shape of a way: where it lies, what kind it is, its simplified line, and a signature to know it again by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import running_sum
from strava_pipeline.analysis.geo import picked, places_known, projected_m, unwrapped
from strava_pipeline.analysis.line import simplified, turns
from strava_pipeline.analysis.route_match import SIGNATURE_POINTS, Signature, match
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Indices, Samples

# Points nearer to the one before are left out before the line is simplified.
THINNED_TO_M = 25.0
# Who ends this near the start, or within this share of the way, has come back.
BACK_M = 200.0
BACK_SHARE = 0.02
# On the spot there is no route.
SHORTEST_ROUTE_M = 200.0


@dataclass(frozen=True)
class Route:
    """Degrees; ``west`` is greater than ``east`` where the way crosses the antimeridian.

    ``kind`` loop, out_and_back or point_to_point; ``line``: indices of the samples that make the simplified line;
    ``signature``: positions at even distances, latitude and longitude, shape (64, 2).
    """

    south: float
    west: float
    north: float
    east: float
    kind: str
    left_turns: int
    right_turns: int
    line: tuple[int, ...]
    signature: Signature | None


def route_of(timeline: Timeline) -> Route | None:
    """The shape of the recorded positions; ``None`` without any."""
    track = timeline.track
    if track.latitude is None or track.longitude is None or timeline.legs_m is None:
        return None
    known = places_known(track.latitude, track.longitude)
    if not len(known):
        return None
    latitude, longitude = picked(track.latitude, known), unwrapped(picked(track.longitude, known))
    way = picked(running_sum(timeline.legs_m), known)
    (south, north), (west, east) = _bounds(latitude), _bounds(longitude)
    thinned = _thinned(way)
    x, y = projected_m(latitude[thinned], longitude[thinned], ((south + north) / 2, (west + east) / 2))
    corners = simplified(x, y)
    left, right = turns(x[corners], y[corners])
    signature = _signature(latitude, longitude, way)
    return Route(
        south=south,
        west=_within_half_a_turn(west),
        north=north,
        east=_within_half_a_turn(east),
        kind=_kind(x, y, way, signature),
        left_turns=left,
        right_turns=right,
        line=tuple(known[thinned[corners]].tolist()),
        signature=signature,
    )


def _bounds(degrees: Samples) -> tuple[float, float]:
    return float(degrees.min()), float(degrees.max())


def _thinned(way: Samples) -> Indices:
    """Indices of the first point of each stretch, and of the last one of all."""
    cells = np.floor(way / THINNED_TO_M)
    later = (cells[1:] > cells[:-1]).nonzero()[0] + 1
    if len(way) > 1 and (not len(later) or later[-1] != len(way) - 1):
        return np.concatenate(([0], later, [len(way) - 1]))
    return np.concatenate(([0], later))


def _signature(latitude: Samples, longitude: Samples, way: Samples) -> Signature | None:
    if way[-1] < SHORTEST_ROUTE_M:
        return None
    places = np.linspace(0.0, way[-1], SIGNATURE_POINTS)
    points = np.stack((np.interp(places, way, latitude), np.interp(places, way, longitude)), axis=1)
    return Signature(points, float(way[-1]))


def _kind(east: Samples, north: Samples, way: Samples, signature: Signature | None) -> str:
    apart = float(np.hypot(east[-1] - east[0], north[-1] - north[0]))
    if apart > max(BACK_M, BACK_SHARE * way[-1]):
        return "point_to_point"
    if signature is not None:
        half = len(signature.points) // 2
        out, back = (
            Signature(part, signature.length_m / 2) for part in (signature.points[:half], signature.points[half:])
        )
        found = match(out, back)
        if found is not None and found.reversed:
            return "out_and_back"
    return "loop"


def _within_half_a_turn(longitude: float) -> float:
    return float((longitude + 180) % 360 - 180)
