"""Tracks whose figures follow from a formula, and the tolerances within which the analysis finds them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.climbs import climb_category
from strava_pipeline.analysis.figures import analyse
from strava_pipeline.analysis.grade_adjusted import running_cost
from strava_pipeline.analysis.track import Track
from strava_pipeline.analysis.training import training_days
from strava_pipeline_tests.analysis.tracks import circle, samples

HOUR = 3_601


def steady_climb(grade: float = 0.05, mps: float = 5.0) -> Track:
    """Half an hour at an even speed on an even slope."""
    time = np.arange(1_801.0)
    return Track(time=time, distance=mps * time, altitude=100 + grade * mps * time)


def square_wave(low: float = 100.0, high: float = 300.0, half_period_s: int = 300) -> Track:
    """An hour of power that changes between two values every five minutes."""
    time = np.arange(float(HOUR))
    power = np.where(time // half_period_s % 2 == 0, low, high)
    # A meter varies; a value that lasts would count as stuck.
    return Track(time=time, power=power + np.where(time % 2 == 0, 0.5, -0.5))


def test_an_even_slope_is_climbed_whole() -> None:
    analysis = analyse(steady_climb())
    assert analysis.figures.elevation_gain_m == pytest.approx(450, rel=1e-6)
    assert analysis.figures.elevation_loss_m == 0
    (climb,) = analysis.climbs
    assert climb.length_m == pytest.approx(9_000, rel=1e-3)
    assert climb.average_grade_percent == pytest.approx(5, rel=1e-3)
    assert climb.max_grade_percent == pytest.approx(5, rel=1e-3)
    # 0.25 m/s upwards.
    assert climb.vam_m_per_h == pytest.approx(900, rel=2e-3)
    assert climb.category == "2"
    assert analysis.grades_m["3..6"] == pytest.approx(9_000, rel=2e-3)


def test_an_even_descent_is_a_descent_and_no_climb() -> None:
    analysis = analyse(steady_climb(grade=-0.05))
    assert analysis.climbs == ()
    (descent,) = analysis.descents
    assert descent.change_m == pytest.approx(-450, rel=1e-3)
    assert descent.average_grade_percent == pytest.approx(-5, rel=1e-3)
    assert descent.category is None


def test_hills_of_a_sine_are_counted_whole() -> None:
    # Ten waves of 2 km length and 20 m amplitude: 40 m up and down in each.
    time = np.arange(4_001.0)
    distance = 5 * time
    altitude = 500 - 20 * np.cos(2 * np.pi * distance / 2_000)
    figures = analyse(Track(time=time, distance=distance, altitude=altitude)).figures
    assert figures.elevation_gain_m == pytest.approx(400, rel=0.005)
    assert figures.elevation_loss_m == pytest.approx(400, rel=0.005)


def test_a_jittering_satellite_height_climbs_little() -> None:
    rng = np.random.default_rng(1)
    time = np.arange(3_601.0)
    figures = analyse(Track(time=time, distance=6 * time, altitude=300 + rng.normal(0, 3, 3_601))).figures
    assert figures.barometric_altitude is False
    assert figures.elevation_gain_m is not None
    assert figures.elevation_gain_m < 10


@pytest.mark.parametrize(
    ("length_m", "gain_m", "category"),
    [(2_000, 81, "4"), (4_000, 161, "3"), (6_000, 321, "2"), (10_000, 641, "1"), (15_000, 801, "HC"),
     (2_000, 79, None), (4_000, 100, None), (250, 90, None)],
)  # fmt: skip
def test_categories_are_stravas(length_m: float, gain_m: float, category: str | None) -> None:
    assert climb_category(length_m, gain_m) == category


def test_a_square_wave_has_the_power_of_its_formula() -> None:
    # Means over 30 s are the two values but for 30 s after each of the eleven steps.
    figures = analyse(square_wave(), Athlete(ftp_w=250)).figures
    normalized = ((100**4 + 300**4) / 2) ** 0.25
    assert figures.average_power_w == pytest.approx(200, rel=1e-3)
    assert figures.normalized_power_w == pytest.approx(normalized, rel=0.02)
    assert figures.normalized_power_w is not None
    intensity = figures.normalized_power_w / 250
    assert figures.intensity == pytest.approx(intensity)
    assert figures.training_stress == pytest.approx(100 * intensity**2, rel=1e-3)
    assert figures.work_kj == pytest.approx(720, rel=1e-3)
    assert figures.power_variability == pytest.approx(normalized / 200, rel=0.02)


def test_an_hour_at_threshold_is_a_stress_of_100() -> None:
    track = square_wave(250, 250)
    assert analyse(track, Athlete(ftp_w=250)).figures.training_stress == pytest.approx(100, rel=1e-3)


def test_the_power_curve_of_a_square_wave() -> None:
    curve = {point.duration_s: point.power_w for point in analyse(square_wave()).curve}
    assert curve[300] == pytest.approx(300, rel=1e-3)
    # The best ten minutes hold one high half and one low one; the best fifteen two high ones.
    assert curve[600] == pytest.approx(200, rel=1e-3)
    assert curve[900] == pytest.approx((2 * 300 + 100) / 3, rel=1e-3)
    assert curve[3_600] == pytest.approx(200, rel=1e-3)
    assert 5_400 not in curve


def test_zones_share_the_hour_of_a_square_wave() -> None:
    athlete = Athlete(power_zones_w=(0, 150, 250))
    zones = {zone.zone: zone.time_s for zone in analyse(square_wave(), athlete).zone_times}
    assert zones == {1: 1_800, 2: 0, 3: 1_800}


def test_without_zones_they_follow_from_the_highest_heart_rate_and_the_threshold() -> None:
    zones = analyse(square_wave(), Athlete(ftp_w=200)).zone_times
    assert [zone.low for zone in zones] == pytest.approx([0, 110, 150, 180, 210, 240, 300])
    heart = analyse(Track(time=samples(0, 60, 120), heart_rate=samples(100, 150, 190)), Athlete(highest_bpm=200))
    assert [(zone.low, zone.high, zone.time_s) for zone in heart.zone_times][:3] == [
        (0.0, 120.0, 60.0), (120.0, 140.0, 0.0), (140.0, 160.0, 60.0),
    ]  # fmt: skip


def test_a_circle_is_a_loop_of_its_circumference() -> None:
    latitude, longitude = circle(1_000, 1_257)
    analysis = analyse(Track(time=np.arange(1_257.0), latitude=latitude, longitude=longitude))
    route = analysis.route
    assert route is not None
    assert analysis.figures.haversine_distance_m == pytest.approx(2_000 * math.pi, rel=1e-3)
    assert analysis.figures.distance_m == pytest.approx(2_000 * math.pi, rel=1e-3)
    assert route.kind == "loop"
    assert route.north - route.south == pytest.approx(math.degrees(2_000 / 6_371_008.8), rel=1e-3)
    # A chord that keeps within 10 m of a circle of 1 km spans 16 degrees.
    assert 20 <= len(route.line) <= 50


def test_training_impulse_of_an_hour_at_an_even_heart_rate() -> None:
    heart_rate = 150 + np.where(np.arange(HOUR) % 2 == 0, 0.5, -0.5)
    athlete = Athlete(highest_bpm=190, resting_bpm=60)
    figures = analyse(Track(time=np.arange(float(HOUR)), heart_rate=heart_rate), athlete).figures
    reserve = (150 - 60) / 130
    assert figures.training_impulse == pytest.approx(60 * reserve * 0.64 * math.exp(1.92 * reserve), rel=1e-3)
    at_threshold = 0.89 * 190 + np.where(np.arange(HOUR) % 2 == 0, 0.5, -0.5)
    figures = analyse(Track(time=np.arange(float(HOUR)), heart_rate=at_threshold), athlete).figures
    assert figures.heart_rate_stress == pytest.approx(100, rel=1e-3)
    assert (figures.training_load, figures.load_source) == (figures.heart_rate_stress, "heart_rate")


def test_estimated_power_gives_no_load() -> None:
    figures = analyse(square_wave(), Athlete(ftp_w=250), power_measured=False).figures
    assert figures.training_stress is not None
    assert figures.training_load is None


def test_power_that_fades_at_an_even_heart_rate_is_decoupled() -> None:
    time = np.arange(float(HOUR))
    wobble = np.where(time % 2 == 0, 0.5, -0.5)
    power = np.where(time < HOUR // 2, 200.0, 180.0) + wobble
    figures = analyse(Track(time=time, power=power, heart_rate=140 + wobble)).figures
    assert figures.decoupling_percent == pytest.approx(10, abs=0.2)
    assert figures.efficiency_w_per_bpm == pytest.approx((((200**4 + 180**4) / 2) ** 0.25) / 140, rel=1e-3)


@pytest.mark.parametrize(("grade", "cost"), [(0, 3.6), (0.1, 5.97), (-0.1, 2.15), (-0.2, 1.80), (0.45, 18.93)])
def test_the_cost_of_running_is_minettis(grade: float, cost: float) -> None:
    # What they measured; their polynomial comes within 3 %.
    assert running_cost(samples(grade))[0] == pytest.approx(cost, rel=0.03)


def test_uphill_counts_as_faster_on_the_flat() -> None:
    track = steady_climb(grade=0.05, mps=3.0)
    figures = analyse(track).figures
    assert figures.grade_adjusted_speed_mps == pytest.approx(3 * running_cost(samples(0.05))[0] / 3.6, rel=1e-3)
    assert figures.pace_s_per_km == pytest.approx(1000 / 3)


def test_splits_of_an_even_run() -> None:
    time = np.arange(1_001.0)
    analysis = analyse(Track(time=time, distance=4 * time, altitude=0.02 * 4 * time, heart_rate=140 + time % 2))
    metric = [split for split in analysis.splits if split.unit == "metric"]
    assert [split.elapsed_time_s for split in metric] == pytest.approx([250] * 4)
    assert [split.elevation_difference_m for split in metric] == pytest.approx([20] * 4, rel=1e-3)
    assert [split.average_heartrate_bpm for split in metric] == pytest.approx([140.5] * 4, rel=1e-3)
    miles = [split for split in analysis.splits if split.unit == "standard"]
    assert [split.distance_m for split in miles] == pytest.approx([1_609.344, 1_609.344, 4_000 - 2 * 1_609.344])


def test_a_stop_on_a_boundary_counts_in_one_split_only() -> None:
    time = samples(*range(251), *range(551, 802))
    distance = samples(*(4.0 * second for second in range(251)), *(1_000 + 4.0 * second for second in range(251)))
    analysis = analyse(Track(time=time, distance=distance))
    metric = [split for split in analysis.splits if split.unit == "metric"]
    assert sum(split.elapsed_time_s for split in metric) == pytest.approx(801)
    assert sum(split.moving_time_s for split in metric) == pytest.approx(500, abs=2)


def test_best_efforts_find_the_fast_stretch() -> None:
    speed = np.where((np.arange(3_000) >= 1_000) & (np.arange(3_000) < 1_250), 5.0, 3.0)
    distance = np.concatenate(([0.0], np.cumsum(speed)))
    efforts = {e.distance_m: e for e in analyse(Track(time=np.arange(3_001.0), distance=distance)).distance_efforts}
    assert efforts[400.0].elapsed_time_s == pytest.approx(80, rel=0.01)
    assert efforts[1_000.0].elapsed_time_s == pytest.approx(200, rel=0.01)
    assert efforts[5_000.0].elapsed_time_s == pytest.approx(250 + 3_750 / 3, rel=0.01)
    assert efforts[1_000.0].start_m == pytest.approx(3_000, abs=260)
    assert 10_000.0 not in efforts


def test_fitness_and_fatigue_follow_an_even_load() -> None:
    days = training_days(np.full(42, 100.0))
    assert days[-1].fitness == pytest.approx(100 * (1 - math.exp(-1)))
    assert days[6].fatigue == pytest.approx(100 * (1 - math.exp(-1)))
    assert days[-1].form == pytest.approx(days[-2].fitness - days[-2].fatigue)
    assert days[-1].week_load == 700
    # Seven days alike have no spread to divide by.
    assert days[-1].monotony is None


def test_monotony_and_strain_are_fosters() -> None:
    week = samples(100, 0, 100, 0, 100, 0, 100)
    last = training_days(week)[-1]
    assert last.monotony == pytest.approx(week.mean() / week.std())
    assert last.strain == pytest.approx(400 * week.mean() / week.std())


def test_days_go_on_from_any_day_as_if_computed_whole() -> None:
    loads = np.random.default_rng(1).uniform(0, 150, 60)
    whole = training_days(loads)
    rest = training_days(loads[40:], fitness=whole[39].fitness, fatigue=whole[39].fatigue, before=loads[34:40])
    assert [day.fitness for day in rest] == pytest.approx([day.fitness for day in whole[40:]])
    assert [day.form for day in rest] == pytest.approx([day.form for day in whole[40:]])
    assert [day.strain for day in rest] == pytest.approx([day.strain for day in whole[40:]])
