"""Routes: their kind, their simplified line, and knowing one again in either direction."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strava_pipeline.analysis.figures import analyse
from strava_pipeline.analysis.line import count_turns, simplify
from strava_pipeline.analysis.route import Route
from strava_pipeline.analysis.route_match import match_routes
from strava_pipeline.analysis.track import Track
from strava_pipeline_tests.analysis.tracks import Samples, circle


def route(latitude: Samples, longitude: Samples) -> Route:
    found = analyse(Track(time=np.arange(float(len(latitude))), latitude=latitude, longitude=longitude)).route
    assert found is not None
    return found


def winding(noise_m: float = 0.0, count: int = 3_000, seed: int = 1) -> tuple[Samples, Samples]:
    """A winding road of some 20 km, as a satellite receiver with so much noise sees it."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0, 1, count)
    latitude = 47 + 0.1 * share + 0.01 * np.sin(12 * share)
    longitude = 8 + 0.1 * share + 0.01 * np.cos(17 * share)
    wander = np.cumsum(rng.normal(0, noise_m / 10, (2, count)), axis=1) if noise_m else np.zeros((2, count))
    return latitude + wander[0] / 111_195 / 5, longitude + wander[1] / 111_195 / 5


def matched(one: Route, other: Route) -> tuple[bool, bool]:
    """Whether they are the same route, and whether in opposite directions."""
    assert one.signature is not None
    assert other.signature is not None
    found = match_routes(one.signature, other.signature)
    return found is not None, found is not None and found.reversed


def test_kinds_of_routes() -> None:
    latitude, longitude = winding()
    assert route(latitude, longitude).kind == "point_to_point"
    there_and_back = np.concatenate((latitude, latitude[::-1])), np.concatenate((longitude, longitude[::-1]))
    assert route(*there_and_back).kind == "out_and_back"
    assert route(*circle(2_000, 2_000)).kind == "loop"


def test_the_same_road_with_other_noise_is_the_same_route() -> None:
    assert matched(route(*winding(5, 3_000, 1)), route(*winding(5, 2_400, 2))) == (True, False)


def test_the_way_back_is_the_same_route_reversed() -> None:
    latitude, longitude = winding(5, 2_500, 3)
    assert matched(route(*winding()), route(latitude[::-1], longitude[::-1])) == (True, True)
    latitude, longitude = circle(2_000, 2_000)
    assert matched(route(latitude, longitude), route(latitude[::-1], longitude[::-1])) == (True, True)


def test_a_loop_entered_elsewhere_is_the_same_route_in_the_same_direction() -> None:
    latitude, longitude = circle(2_000, 2_000)
    rolled = np.roll(latitude[:-1], 600), np.roll(longitude[:-1], 600)
    assert matched(route(latitude, longitude), route(*rolled)) == (True, False)


def test_a_road_beside_it_and_a_shorter_way_are_other_routes() -> None:
    latitude, longitude = winding()
    assert matched(route(latitude, longitude), route(latitude + 0.01, longitude)) == (False, False)
    half = len(latitude) // 2
    assert matched(route(latitude, longitude), route(latitude[:half], longitude[:half])) == (False, False)


def test_a_route_across_the_antimeridian_has_its_bounds_and_is_known_again() -> None:
    latitude, longitude = winding()
    east = (longitude + 171.95 + 180) % 360 - 180
    found = route(latitude, east)
    assert found.west > 179
    assert found.east < -179
    assert found.signature is not None
    assert found.signature.length_m == pytest.approx(route(latitude, longitude).signature.length_m, rel=1e-6)  # type: ignore[union-attr]  # it has one
    assert matched(found, found) == (True, False)


def test_turns_are_told_apart() -> None:
    # North, east, north, west.
    east, north = np.array([0.0, 0, 100, 100, 0]), np.array([0.0, 100, 100, 200, 200])
    assert count_turns(east, north) == (2, 1)


@example([(0.0, 5e-172), (0.0, 1.0), (0.0, 0.0)])
@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=60))
def test_every_point_lies_near_the_simplified_line(points: list[tuple[float, float]]) -> None:
    east, north = np.array(points).T
    kept = simplify(east, north, 50.0).tolist()
    assert kept[0] == 0
    assert kept[-1] == len(points) - 1
    for begin, end in pairwise(kept):
        for place in range(begin + 1, end):
            assert away(points[place], points[begin], points[end]) <= 50.0 + 1e-6


def test_a_straight_line_needs_two_points() -> None:
    assert simplify(np.arange(100.0), 2 * np.arange(100.0)).tolist() == [0, 99]


def away(point: tuple[float, float], begin: tuple[float, float], end: tuple[float, float]) -> float:
    """Distance from a stretch, by the textbook."""
    chord = (end[0] - begin[0], end[1] - begin[1])
    squared = chord[0] ** 2 + chord[1] ** 2
    along = (point[0] - begin[0]) * chord[0] + (point[1] - begin[1]) * chord[1]
    share = min(1.0, max(0.0, along / squared)) if squared > 0 else 0.0
    return math.hypot(point[0] - begin[0] - share * chord[0], point[1] - begin[1] - share * chord[1])
