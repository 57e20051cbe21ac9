"""Lines of routes and elevation profiles: true to shape, small, and whole across the antimeridian."""

from __future__ import annotations

import math
from itertools import pairwise

import polyline
import pytest

from webhook_bridge.drawings import (
    EDGE,
    MOST_POINTS,
    PROFILE_HEIGHT,
    ROUTE_HEIGHT,
    WIDTH,
    Drawing,
    draw_profile,
    draw_route,
)


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in text.split())]


def route(*positions: tuple[float, float]) -> Drawing:
    drawn = draw_route(polyline.encode(list(positions)))
    assert drawn is not None
    return drawn


@pytest.mark.parametrize("latitude", [0.0, 48.2, -70.0])
def test_a_metre_east_is_as_long_as_a_metre_north(latitude: float) -> None:
    east = 0.01 / math.cos(math.radians(latitude + 0.005))
    drawn = points(route((latitude, 16), (latitude + 0.01, 16), (latitude + 0.01, 16 + east)).points)
    north_px, east_px = drawn[0][1] - drawn[1][1], drawn[2][0] - drawn[1][0]
    assert north_px == pytest.approx(ROUTE_HEIGHT - 2 * EDGE, abs=0.2)
    assert east_px == pytest.approx(north_px, rel=0.01)


def test_a_route_lies_within_its_picture_and_a_short_one_in_its_middle() -> None:
    for reach in (1e-5, 1e-3, 5.0):
        drawn = route((48, 16), (48 + reach, 16 + 2 * reach), (48, 16 + reach))
        assert all(0 <= x <= WIDTH and 0 <= y <= ROUTE_HEIGHT for x, y in points(drawn.points))
        assert drawn.start == pytest.approx(points(drawn.points)[0], abs=0.05)
    assert route((48, 16), (48, 16)).start == pytest.approx((WIDTH / 2, ROUTE_HEIGHT / 2))


def test_a_route_across_the_antimeridian_stays_in_one_piece() -> None:
    drawn = points(route((-18, 179.99), (-18, -179.99), (-18, -179.97)).points)
    assert [later > earlier for (earlier, _), (later, _) in pairwise(drawn)] == [True, True]


@pytest.mark.parametrize("encoded", ["", polyline.encode([(48.0, 16.0)])])
def test_no_line_is_no_drawing(encoded: str) -> None:
    assert draw_route(encoded) is None


def test_a_profile_has_few_points_and_keeps_its_ends_and_heights() -> None:
    along = [5.0 * number for number in range(10_000)]
    profile = draw_profile(along, [300 + 200 * math.sin(number / 900) for number in range(10_000)])
    assert profile is not None
    drawn = points(profile.drawing.points)
    assert MOST_POINTS / 2 < len(drawn) <= MOST_POINTS + 1
    assert (drawn[0][0], drawn[-1][0]) == (0, WIDTH)
    assert all(EDGE <= y <= PROFILE_HEIGHT - EDGE for _, y in drawn)
    assert (profile.lowest_m, profile.highest_m) == pytest.approx((100, 500), abs=0.1)
    assert points(profile.drawing.area)[0] == (0, PROFILE_HEIGHT)


def test_gaps_of_a_profile_are_left_out_and_a_flat_one_is_flat() -> None:
    profile = draw_profile([0.0, 10.0, None, 30.0, 40.0], [100.0, math.nan, 5.0, None, 101.0])
    assert profile is not None
    (_, first), (_, last) = points(profile.drawing.points)
    assert 0 < first - last < 5
    assert draw_profile([0.0, None], [1.0, 2.0]) is None
    assert draw_profile([], []) is None
