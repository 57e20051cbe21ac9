"""The shape of a route: bounds, kind, simplified line, and a signature by which routes are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import cumulative_sum
from strava_pipeline.analysis.geo import known_positions, project_m, select, unwrap_longitude
from strava_pipeline.analysis.line import count_turns, simplify
from strava_pipeline.analysis.route_match import SIGNATURE_POINTS, Signature, match_routes
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Indices, Samples

# The line is thinned to one point per so many metres before it is simplified.
THINNING_M = 25.0
# A route that ends within this distance of its start, or within this share of its length, is closed.
CLOSED_M = 200.0
CLOSED_SHARE = 0.02
# Shorter recordings have no signature.
SHORTEST_ROUTE_M = 200.0


@dataclass(frozen=True)
class Route:
    """The shape of a route. Bounds are in degrees; ``west`` exceeds ``east`` if the route crosses the antimeridian.

    ``kind``: loop, out_and_back or point_to_point; ``line``: indices of the samples on the simplified line.
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
    """Return the shape of the recorded route; ``None`` without positions."""
    track = timeline.track
    if track.latitude is None or track.longitude is None or timeline.legs_m is None:
        return None
    known = known_positions(track.latitude, track.longitude)
    if not len(known):
        return None
    latitude, longitude = select(track.latitude, known), unwrap_longitude(select(track.longitude, known))
    way = select(cumulative_sum(timeline.legs_m), known)
    (south, north), (west, east) = _bounds(latitude), _bounds(longitude)
    thinned = _thin(way)
    x, y = project_m(latitude[thinned], longitude[thinned], ((south + north) / 2, (west + east) / 2))
    corners = simplify(x, y)
    left, right = count_turns(x[corners], y[corners])
    signature = _signature(latitude, longitude, way)
    return Route(
        south=south,
        west=_normal_longitude(west),
        north=north,
        east=_normal_longitude(east),
        kind=_kind(x, y, way, signature),
        left_turns=left,
        right_turns=right,
        line=tuple(known[thinned[corners]].tolist()),
        signature=signature,
    )


def _bounds(degrees: Samples) -> tuple[float, float]:
    return float(degrees.min()), float(degrees.max())


def _thin(way: Samples) -> Indices:
    """Return the index of the first point in each :data:`THINNING_M` metres, and the last index of all."""
    cells = np.floor(way / THINNING_M)
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
    if apart > max(CLOSED_M, CLOSED_SHARE * way[-1]):
        return "point_to_point"
    if signature is not None:
        half = len(signature.points) // 2
        out, back = (
            Signature(part, signature.length_m / 2) for part in (signature.points[:half], signature.points[half:])
        )
        found = match_routes(out, back)
        if found is not None and found.reversed:
            return "out_and_back"
    return "loop"


def _normal_longitude(longitude: float) -> float:
    return float((longitude + 180) % 360 - 180)
