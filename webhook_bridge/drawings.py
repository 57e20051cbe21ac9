"""Draws a route and an elevation profile as lines of an SVG, which takes its colours from the page.

Without a drawing library: the bridge stays small, and draws each time a page is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polyline

WIDTH, ROUTE_HEIGHT, PROFILE_HEIGHT, EDGE = 600, 400, 160, 12
MOST_POINTS = 600
LEAST_POINTS = 2
METRES_PER_DEGREE = 111_195.0
# A shorter route, and a flatter profile, do not fill the picture.
LEAST_SIZE_M, LEAST_HEIGHT_M = 100.0, 60.0


@dataclass(frozen=True)
class Drawing:
    """A line in a picture of this size: ``points`` as SVG has them, and those of the area below it, if it has one."""

    width: int
    height: int
    points: str
    start: tuple[float, float]
    end: tuple[float, float]
    area: str = ""


@dataclass(frozen=True)
class Profile:
    """The line of an elevation profile, with its lowest and highest altitude, m."""

    drawing: Drawing
    lowest_m: float
    highest_m: float


def draw_route(encoded: str) -> Drawing | None:
    """Draw an encoded polyline, north up, a metre east as long as a metre north; ``None`` without a line."""
    positions = polyline.decode(encoded)
    if len(positions) < LEAST_POINTS:
        return None
    latitudes = [latitude for latitude, _ in positions]
    longitudes = _unwrapped([longitude for _, longitude in positions])
    shrink = math.cos(math.radians((min(latitudes) + max(latitudes)) / 2))
    east = [longitude * shrink * METRES_PER_DEGREE for longitude in longitudes]
    north = [latitude * METRES_PER_DEGREE for latitude in latitudes]
    room = (WIDTH - 2 * EDGE, ROUTE_HEIGHT - 2 * EDGE)
    scale = min(length / max(_extent(way), LEAST_SIZE_M) for length, way in zip(room, (east, north), strict=True))
    middle_east, middle_north = (min(east) + max(east)) / 2, (min(north) + max(north)) / 2
    points = [
        (WIDTH / 2 + (x - middle_east) * scale, ROUTE_HEIGHT / 2 - (y - middle_north) * scale)
        for x, y in zip(east, north, strict=True)
    ]
    return Drawing(WIDTH, ROUTE_HEIGHT, _told(points), points[0], points[-1])


def draw_profile(along_m: Sequence[float | None], altitude_m: Sequence[float | None]) -> Profile | None:
    """Draw altitudes over the distance, shapes (n,), without gaps; ``None`` if there are fewer than two."""
    known = [
        (along, height)
        for along, height in zip(along_m, altitude_m, strict=False)
        if along is not None and height is not None and math.isfinite(along) and math.isfinite(height)
    ]
    if len(known) < LEAST_POINTS:
        return None
    step = -(-len(known) // MOST_POINTS)
    drawn = [*known[:-1:step], known[-1]]
    heights = [height for _, height in known]
    lowest, highest = min(heights), max(heights)
    first, length = known[0][0], max(known[-1][0] - known[0][0], 1.0)
    scale = (PROFILE_HEIGHT - 2 * EDGE) / max(highest - lowest, LEAST_HEIGHT_M)
    points = [
        ((along - first) / length * WIDTH, PROFILE_HEIGHT - EDGE - (height - lowest) * scale) for along, height in drawn
    ]
    area = [(points[0][0], PROFILE_HEIGHT), *points, (points[-1][0], PROFILE_HEIGHT)]
    drawing = Drawing(WIDTH, PROFILE_HEIGHT, _told(points), points[0], points[-1], _told(area))
    return Profile(drawing, lowest, highest)


def _unwrapped(longitudes: Sequence[float]) -> list[float]:
    """Longitudes beyond 180 degrees where a route crosses the antimeridian, so that it stays in one piece."""
    found = [longitudes[0]]
    for longitude in longitudes[1:]:
        turns = round((found[-1] - longitude) / 360)
        found.append(longitude + 360 * turns)
    return found


def _extent(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _told(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
