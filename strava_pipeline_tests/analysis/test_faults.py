"""Faults of recordings: kept out of the figures, and told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from strava_pipeline.analysis.figures import analyse
from strava_pipeline.analysis.track import Track


def plain_ride(count: int = 1_200) -> Track:
    """Due north at 8 m/s with every sensor."""
    time = np.arange(float(count))
    wobble = np.where(time % 2 == 0, 1.0, -1.0)
    return Track(
        time=time,
        distance=8 * time,
        latitude=47 + 8 * time / 111_195,
        longitude=np.full(count, 8.0),
        altitude=400 + 10 * np.sin(time / 100),
        speed=np.full(count, 8.0),
        heart_rate=140 + wobble,
        cadence=90 + wobble,
        power=200 + wobble,
        moving=np.ones(count),
    )


def kinds(track: Track) -> list[tuple[str, str]]:
    return [(fault.kind, fault.series) for fault in analyse(track).faults]


def test_a_clean_ride_has_no_faults() -> None:
    assert kinds(plain_ride()) == []


def test_a_position_that_jumps_away_and_back_adds_no_way() -> None:
    ride = plain_ride()
    assert ride.latitude is not None
    latitude = ride.latitude.copy()
    latitude[500:510] += 0.5
    figures = analyse(replace(ride, latitude=latitude)).figures
    assert figures.jump_count == 1
    assert figures.haversine_distance_m == pytest.approx(8 * 1_199, rel=1e-3)


def test_a_jump_without_return_adds_no_way() -> None:
    ride = plain_ride()
    assert ride.latitude is not None
    latitude = ride.latitude.copy()
    latitude[600:] += 0.5
    figures = analyse(replace(ride, latitude=latitude)).figures
    assert figures.jump_count == 1
    assert figures.haversine_distance_m == pytest.approx(8 * 1_198, rel=1e-3)


def test_a_distance_that_jumps_makes_no_best_effort() -> None:
    ride = plain_ride()
    assert ride.distance is not None
    distance = ride.distance.copy()
    distance[600:] += 3_000
    analysis = analyse(replace(ride, distance=distance))
    assert kinds(replace(ride, distance=distance)) == [("jump", "distance")]
    assert analysis.figures.distance_m == pytest.approx(8 * 1_199, rel=2e-3)
    assert analysis.distance_efforts[0].elapsed_time_s == pytest.approx(50, rel=0.02)


def test_a_stuck_strap_is_left_out_of_mean_and_zones() -> None:
    ride = plain_ride()
    assert ride.heart_rate is not None
    heart_rate = ride.heart_rate.copy()
    heart_rate[200:800] = 220
    analysis = analyse(replace(ride, heart_rate=heart_rate))
    assert analysis.figures.stuck_time_s == 599
    assert analysis.figures.average_heartrate_bpm == pytest.approx(140, abs=0.1)
    assert analysis.figures.max_heartrate_bpm == 141
    assert sum(zone.time_s for zone in analysis.zone_times if zone.kind == "heart_rate") == pytest.approx(599, abs=1)


def test_coasting_is_no_stuck_meter() -> None:
    ride = plain_ride()
    assert ride.power is not None
    power = ride.power.copy()
    power[200:800] = 0
    assert kinds(replace(ride, power=power)) == []


def test_values_nobody_can_have_are_counted_and_left_out() -> None:
    ride = plain_ride()
    assert ride.power is not None
    power = ride.power.copy()
    power[[10, 20]] = 9_000
    power[30] = np.inf
    figures = analyse(replace(ride, power=power)).figures
    assert (figures.implausible_count, figures.max_power_w) == (3, 201)


def test_a_pause_of_the_device_is_a_gap_and_counts_for_no_sensor() -> None:
    ride = plain_ride()
    assert ride.time is not None
    time = ride.time.copy()
    time[600:] += 3_600
    analysis = analyse(replace(ride, time=time, moving=None))
    figures = analysis.figures
    assert (figures.gap_count, figures.gap_time_s) == (1, 3_601)
    assert figures.elapsed_time_s == 1_199 + 3_600
    assert figures.moving_time_s == 1_198
    (stop,) = analysis.stops
    assert (stop.start_s, stop.length_s) == (599, 3_601)
    assert stop.latitude_deg == pytest.approx(47 + 8 * 599 / 111_195)
    assert figures.average_power_w == pytest.approx(200, abs=0.1)
    assert figures.normalized_power_w == pytest.approx(200, abs=0.1)
    # The best hour must not be made up from what was not recorded.
    assert {point.duration_s: point.power_w or 0 for point in analysis.curve}[3_600] < 100


def test_samples_that_are_always_far_apart_are_no_gaps() -> None:
    time = np.arange(0.0, 36_000.0, 60.0)
    figures = analyse(Track(time=time, power=200 + time % 7)).figures
    assert figures.gap_count == 0
    assert figures.average_power_w == pytest.approx(203, abs=1)
