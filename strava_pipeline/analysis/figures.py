"""The whole analysis of one activity."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.athlete import UNKNOWN_ATHLETE, Athlete
from strava_pipeline.analysis.averages import finite_or_none, highest, lowest, weighted_mean
from strava_pipeline.analysis.cleaning import TrackFault
from strava_pipeline.analysis.climbs import Slope, climbs, descents
from strava_pipeline.analysis.efforts import CurvePoint, DistanceEffort, distance_efforts, mean_maximal_curve
from strava_pipeline.analysis.elevation import Profile, elevation_profile, gain_and_loss, grade_distribution
from strava_pipeline.analysis.grade_adjusted import grade_adjusted_m
from strava_pipeline.analysis.heart import heart_rate_stress, training_impulse
from strava_pipeline.analysis.power import PowerFigures, power_figures
from strava_pipeline.analysis.route import Route, route_of
from strava_pipeline.analysis.splits import Split, splits
from strava_pipeline.analysis.stops import Stop, stops
from strava_pipeline.analysis.timeline import Timeline, build_timeline
from strava_pipeline.analysis.track import Samples, Track
from strava_pipeline.analysis.zones import ZoneTime, zone_times

METRES_PER_KM = 1000


@dataclass(frozen=True)
class Figures:
    """Key figures of an activity; ``None`` where samples are missing. Units are in the names.

    ``training_load``: training stress if power was measured and a threshold is known, else heart rate stress;
    ``load_source``: power or heart_rate.
    """

    point_count: int
    distance_m: float | None
    haversine_distance_m: float | None
    elapsed_time_s: float | None
    moving_time_s: float | None
    stopped_time_s: float | None
    elevation_gain_m: float | None
    elevation_loss_m: float | None
    highest_altitude_m: float | None
    lowest_altitude_m: float | None
    barometric_altitude: bool | None
    average_speed_mps: float | None
    max_speed_mps: float | None
    pace_s_per_km: float | None
    grade_adjusted_speed_mps: float | None
    grade_adjusted_pace_s_per_km: float | None
    average_heartrate_bpm: float | None
    max_heartrate_bpm: float | None
    average_cadence_rpm: float | None
    average_temperature_c: float | None
    average_power_w: float | None
    max_power_w: float | None
    normalized_power_w: float | None
    power_variability: float | None
    intensity: float | None
    training_stress: float | None
    work_kj: float | None
    efficiency_w_per_bpm: float | None
    decoupling_percent: float | None
    training_impulse: float | None
    heart_rate_stress: float | None
    training_load: float | None
    load_source: str | None
    gap_count: int
    gap_time_s: float
    jump_count: int
    stuck_time_s: float
    implausible_count: int


@dataclass(frozen=True)
class Analysis:
    """All results for one activity; ``profile`` is ``None`` without altitude, ``route`` without positions."""

    figures: Figures
    stops: tuple[Stop, ...]
    climbs: tuple[Slope, ...]
    descents: tuple[Slope, ...]
    grades_m: dict[str, float]
    splits: tuple[Split, ...]
    distance_efforts: tuple[DistanceEffort, ...]
    curve: tuple[CurvePoint, ...]
    zone_times: tuple[ZoneTime, ...]
    route: Route | None
    profile: Profile | None
    faults: tuple[TrackFault, ...]


def analyse(track: Track, athlete: Athlete = UNKNOWN_ATHLETE, *, power_measured: bool = True) -> Analysis:
    """Analyse a track of any length and with any faults; never raises.

    ``power_measured``: whether a meter measured the power; estimated power gives no training load.
    """
    with np.errstate(all="ignore"):
        timeline = build_timeline(track)
        profile = elevation_profile(timeline)
        flat = None if profile is None else grade_adjusted_m(profile)
        return Analysis(
            figures=_figures(timeline, (profile, flat), athlete, power_measured=power_measured),
            stops=stops(timeline),
            climbs=climbs(timeline, profile),
            descents=descents(timeline, profile),
            grades_m=grade_distribution(profile),
            splits=splits(timeline, profile, flat),
            distance_efforts=distance_efforts(timeline),
            curve=mean_maximal_curve(timeline),
            zone_times=zone_times(timeline, athlete),
            route=route_of(timeline),
            profile=profile,
            faults=timeline.faults,
        )


def _pace(speed: float | None) -> float | None:
    """Return the pace (s/km) of a speed (m/s); ``None`` without a speed, and if the pace is infinite."""
    if not speed:
        return None
    pace = METRES_PER_KM / speed
    return pace if math.isfinite(pace) else None


def _figures(
    timeline: Timeline, heights: tuple[Profile | None, Samples | None], athlete: Athlete, *, power_measured: bool
) -> Figures:
    profile, flat = heights
    track, weights = timeline.track, timeline.weights
    elapsed = None if timeline.seconds is None else timeline.elapsed_s
    moving = timeline.moving_time_s
    distance = None if timeline.along is None else finite_or_none(timeline.along[-1] - min(timeline.along[0], 0.0))
    speed = distance / moving if distance is not None and moving else None
    adjusted = float(flat[-1]) / moving if flat is not None and moving else None
    gain, loss = gain_and_loss(timeline, profile)
    power = power_figures(timeline, athlete)
    impulse = training_impulse(timeline, athlete)
    stress = heart_rate_stress(impulse, athlete)
    counts, lengths = _fault_counts(timeline.faults)
    load, source = _training_load(power, stress, power_measured=power_measured)
    return Figures(
        point_count=track.point_count,
        distance_m=distance,
        haversine_distance_m=None if timeline.legs_m is None else float(timeline.legs_m.sum()),
        elapsed_time_s=elapsed,
        moving_time_s=moving,
        stopped_time_s=elapsed - moving if elapsed is not None and moving is not None else None,
        elevation_gain_m=gain,
        elevation_loss_m=loss,
        highest_altitude_m=highest(track.altitude),
        lowest_altitude_m=lowest(track.altitude),
        barometric_altitude=None if profile is None else profile.barometric,
        average_speed_mps=speed,
        max_speed_mps=highest(timeline.speed),
        pace_s_per_km=_pace(speed),
        grade_adjusted_speed_mps=adjusted,
        grade_adjusted_pace_s_per_km=_pace(adjusted),
        average_heartrate_bpm=timeline.mean_heart_rate,
        max_heartrate_bpm=highest(track.heart_rate),
        average_cadence_rpm=timeline.mean_cadence,
        average_temperature_c=weighted_mean(track.temperature, weights),
        average_power_w=power.average_power_w,
        max_power_w=highest(track.power),
        normalized_power_w=power.normalized_power_w,
        power_variability=power.variability,
        intensity=power.intensity,
        training_stress=power.training_stress,
        work_kj=power.work_kj,
        efficiency_w_per_bpm=power.efficiency_w_per_bpm,
        decoupling_percent=power.decoupling_percent,
        training_impulse=impulse,
        heart_rate_stress=stress,
        training_load=load,
        load_source=source,
        gap_count=counts["gap"],
        gap_time_s=lengths["gap"],
        jump_count=counts["jump"],
        stuck_time_s=lengths["stuck"],
        implausible_count=sum(fault.samples for fault in timeline.faults if fault.kind == "implausible"),
    )


def _training_load(
    power: PowerFigures, stress: float | None, *, power_measured: bool
) -> tuple[float | None, str | None]:
    if power.training_stress is not None and power_measured:
        return power.training_stress, "power"
    return stress, None if stress is None else "heart_rate"


def _fault_counts(faults: tuple[TrackFault, ...]) -> tuple[Counter[str], defaultdict[str, float]]:
    """Return the number of faults of each kind, and how many seconds they last."""
    counts: Counter[str] = Counter()
    lengths: defaultdict[str, float] = defaultdict(float)
    for fault in faults:
        counts[fault.kind] += 1
        lengths[fault.kind] += fault.end_s - fault.start_s
    return counts, lengths
