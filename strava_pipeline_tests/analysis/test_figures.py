from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.figures import Figures, analyse
from strava_pipeline.analysis.geo import EARTH_RADIUS_M, haversine_m
from strava_pipeline.analysis.track import Track
from strava_pipeline_tests.analysis.tracks import journeys, plausible, samples, tracks

COUNTS = ("gap_count", "gap_time_s", "jump_count", "stuck_time_s", "implausible_count")
NOTHING = {name: 0 if name in COUNTS else None for name in Figures.__dataclass_fields__}


def key_figures(track: Track) -> Figures:
    return analyse(track).figures


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


@given(tracks(st.floats()))
def test_no_track_raises(track: Track) -> None:
    assert key_figures(track).point_count == track.point_count


@given(tracks(plausible))
def test_figures_are_numbers_in_their_bounds(track: Track) -> None:
    figures = asdict(key_figures(track))
    assert all(math.isfinite(value) for value in figures.values() if isinstance(value, float))
    for name in ("elapsed_time_s", "moving_time_s", "elevation_gain_m", "elevation_loss_m"):
        assert figures[name] is None or figures[name] >= 0
    if figures["moving_time_s"] is not None:
        assert figures["moving_time_s"] <= figures["elapsed_time_s"] * (1 + 1e-9)
    if figures["average_power_w"] is not None:
        assert figures["average_power_w"] <= figures["max_power_w"] + 1e-3


def numbers_in(thing: object) -> Iterator[float]:
    """Every float in a tree of results."""
    if isinstance(thing, float):
        yield thing
    elif isinstance(thing, np.ndarray):
        yield from thing.ravel().tolist()
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from numbers_in(value)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from numbers_in(value)


@given(journeys())
@settings(max_examples=300)
def test_no_long_track_raises_and_all_results_are_finite(track: Track) -> None:
    analysis = analyse(track, Athlete(ftp_w=250))
    assert all(math.isfinite(number) for number in numbers_in(asdict(analysis)))
    figures = analysis.figures
    if figures.elapsed_time_s is not None:
        assert all(split.elapsed_time_s >= 0 for split in analysis.splits)
        assert all(stop.length_s <= figures.elapsed_time_s for stop in analysis.stops)
        assert sum(zone.time_s for zone in analysis.zone_times if zone.kind == "power") <= figures.elapsed_time_s + 1e-6


@given(tracks(st.floats(), most=40))
def test_all_results_of_any_floats_are_finite(track: Track) -> None:
    assert all(math.isfinite(number) for number in numbers_in(asdict(analyse(track))))


def test_a_way_too_short_for_any_pace_has_none() -> None:
    figures = key_figures(Track(time=samples(0, 1), distance=samples(0, 2e-311)))
    assert figures.pace_s_per_km is None


def test_series_of_different_lengths_are_no_fault() -> None:
    track = Track(time=samples(0, 1, 2), power=samples(100), distance=samples(0, 5))
    assert analyse(track).figures.point_count == 3
