from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from strava_pipeline.analysis.figures import Figures, analyse
from strava_pipeline.analysis.geo import EARTH_RADIUS_M, haversine_m
from strava_pipeline.analysis.track import Track

COUNTS = ("gap_count", "gap_time_s", "jump_count", "stuck_time_s", "implausible_count")
NOTHING = {name: 0 if name in COUNTS else None for name in Figures.__dataclass_fields__}


def key_figures(track: Track) -> Figures:
    return analyse(track).figures


def samples(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def test_a_climb_of_constant_grade() -> None:
    # 10 minutes at 5 m/s and 4 percent.
    time = np.arange(601.0)
    track = Track(time=time, distance=5 * time, altitude=100 + 0.2 * time, speed=np.full(601, 5.0))
    figures = key_figures(track)
    assert figures.point_count == 601
    assert figures.distance_m == 3000
    assert (figures.elapsed_time_s, figures.moving_time_s) == (600, 600)
    assert figures.average_speed_mps == pytest.approx(5)
    assert figures.max_speed_mps == 5
    assert figures.elevation_gain_m == pytest.approx(120, rel=1e-9)
    assert figures.elevation_loss_m == 0


def test_a_circle_has_its_circumference() -> None:
    radius_m, angle = 1_000.0, np.linspace(0, 2 * math.pi, 3_601)
    degrees = math.degrees(radius_m / EARTH_RADIUS_M)
    latitude = 60 + degrees * np.sin(angle)
    longitude = 20 + degrees * np.cos(angle) / np.cos(np.radians(latitude))
    figures = key_figures(Track(latitude=latitude, longitude=longitude))
    assert figures.distance_m == pytest.approx(2 * math.pi * radius_m, rel=1e-3)


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "metres"),
    [
        ((0, 1), (0, 0), 2 * math.pi * EARTH_RADIUS_M / 360),
        ((0, 0), (0, 1), 2 * math.pi * EARTH_RADIUS_M / 360),
        ((60, 60), (0, 1), 55_597.5),
        ((0, 0), (179.5, -179.5), 2 * math.pi * EARTH_RADIUS_M / 360),
        ((-90, 90), (0, 0), math.pi * EARTH_RADIUS_M),
        ((48, 48), (7, 7), 0),
    ],
)
def test_lengths_on_the_globe(latitudes: tuple[float, ...], longitudes: tuple[float, ...], metres: float) -> None:
    [length] = haversine_m(samples(*latitudes), samples(*longitudes))
    assert length == pytest.approx(metres, rel=1e-3)


def test_the_recorded_distance_goes_before_the_positions() -> None:
    track = Track(distance=samples(0, 40, 100), latitude=samples(0, 0, 0), longitude=samples(0, 1, 2))
    assert key_figures(track).distance_m == 100


def test_a_gap_in_the_positions_is_bridged_in_a_straight_line() -> None:
    whole = Track(latitude=samples(0, 0, 0, 0), longitude=samples(0, 0.01, 0.02, 0.03))
    gap = Track(latitude=samples(0, np.nan, np.nan, 0), longitude=samples(0, 0.01, np.nan, 0.03))
    assert key_figures(gap).distance_m == pytest.approx(key_figures(whole).distance_m)


def test_a_pause_counts_as_elapsed_but_not_as_moving() -> None:
    track = Track(
        time=samples(0, 10, 310, 320),
        distance=samples(0, 50, 50, 100),
        moving=samples(0, 1, 0, 1),
    )
    figures = key_figures(track)
    assert (figures.elapsed_time_s, figures.moving_time_s) == (320, 20)
    assert figures.average_speed_mps == 5


def test_without_a_moving_flag_slowness_is_standing() -> None:
    track = Track(time=samples(0, 10, 310, 320), distance=samples(0, 50, 52, 102))
    assert key_figures(track).moving_time_s == 20
    assert key_figures(track).max_speed_mps == 5


def test_missing_times_lose_no_time() -> None:
    track = Track(time=samples(0, np.nan, np.nan, 30, 40, np.nan))
    assert key_figures(track).elapsed_time_s == 40


def test_a_clock_that_goes_back_takes_no_time() -> None:
    assert key_figures(Track(time=samples(0, 10, 5, 15))).elapsed_time_s == 20


@pytest.mark.parametrize(
    ("altitude", "gain", "loss"),
    [
        # A barometer that jitters on the flat climbs nothing.
        ([100, 101, 100, 101.9, 100.1, 101], 0, 0),
        ([0, 10, 0, 10], 20, 10),
        ([0, 1, 2, 3, 2, 1, 0], 3, 3),
        ([0, np.nan, 10, np.nan, np.nan, 5], 10, 5),
        ([np.nan, 3, np.nan], 0, 0),
        ([-5, -15], 0, 10),
    ],
)
def test_metres_climbed_leave_out_the_jitter(altitude: list[float], gain: float, loss: float) -> None:
    figures = key_figures(Track(altitude=samples(*altitude)))
    assert (figures.elevation_gain_m, figures.elevation_loss_m) == (gain, loss)


def test_means_are_over_time_and_pass_over_gaps() -> None:
    track = Track(
        time=samples(0, 1, 10, 11, 12),
        heart_rate=samples(100, 200, np.nan, 100, 249),
        power=samples(0, np.nan, np.nan, np.nan, np.nan),
    )
    figures = key_figures(track)
    # 1 s of 100, 9 s of 200, 1 s missing, 1 s of 100; the last sample lasts for nothing.
    assert figures.average_heartrate_bpm == pytest.approx(2000 / 11)
    assert figures.max_heartrate_bpm == 249
    assert (figures.average_power_w, figures.max_power_w) == (0, 0)


def test_means_without_times_are_over_samples() -> None:
    assert key_figures(Track(power=samples(100, 200, np.nan, 300))).average_power_w == 200


@pytest.mark.parametrize("length", [0, 1, 2, 500])
def test_series_of_nothing_but_gaps_give_nothing(length: int) -> None:
    gaps = np.full(length, np.nan)
    track = Track(
        time=gaps, distance=gaps, latitude=gaps, longitude=gaps, altitude=gaps, speed=gaps, heart_rate=gaps, power=gaps
    )
    assert asdict(key_figures(track)) == NOTHING | {"point_count": length}


def test_no_track_gives_nothing() -> None:
    assert asdict(key_figures(Track())) == NOTHING | {"point_count": 0}


def test_one_point_is_a_place_and_not_a_way() -> None:
    figures = key_figures(
        Track(
            time=samples(0),
            latitude=samples(48),
            longitude=samples(-3),
            altitude=samples(10),
            heart_rate=samples(90),
            moving=samples(1),
        )
    )
    assert (figures.point_count, figures.distance_m, figures.elapsed_time_s, figures.moving_time_s) == (1, 0, 0, 0)
    assert (figures.elevation_gain_m, figures.average_heartrate_bpm, figures.average_speed_mps) == (0, 90, None)


def test_two_points_make_one_step() -> None:
    figures = key_figures(Track(time=samples(0, 4), distance=samples(0, 10), power=samples(100, 300)))
    assert (figures.distance_m, figures.elapsed_time_s, figures.moving_time_s) == (10, 4, 4)
    assert (figures.average_speed_mps, figures.max_speed_mps, figures.average_power_w) == (2.5, 2.5, 100)


def tracks(values: st.SearchStrategy[float]) -> st.SearchStrategy[Track]:
    def of_length(count: int) -> st.SearchStrategy[Track]:
        series = st.none() | st.lists(values, min_size=count, max_size=count).map(lambda found: samples(*found))
        return st.builds(Track, **dict.fromkeys(Track.__dataclass_fields__, series))

    return st.integers(0, 8).flatmap(of_length)


@given(tracks(st.floats()))
def test_no_track_raises(track: Track) -> None:
    assert key_figures(track).point_count == track.point_count


plausible: Any = st.just(math.nan) | st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(-5, 5).map(float)


@given(tracks(plausible))
def test_figures_are_numbers_in_their_bounds(track: Track) -> None:
    figures = asdict(key_figures(track))
    assert all(value is None or math.isfinite(value) for name, value in figures.items() if "speed" not in name)
    for name in ("elapsed_time_s", "moving_time_s", "elevation_gain_m", "elevation_loss_m"):
        assert figures[name] is None or figures[name] >= 0
    if figures["moving_time_s"] is not None:
        assert figures["moving_time_s"] <= figures["elapsed_time_s"] * (1 + 1e-9)
    if figures["average_power_w"] is not None:
        assert figures["average_power_w"] <= figures["max_power_w"] + 1e-3
