"""The tables of figures computed from samples (schema ``strava``).

The names of most columns with a unit end with the unit; the comments give the units of the others.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Double, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSON

from strava_pipeline.warehouse.schema.columns import (
    activity_key,
    bigint,
    column,
    flag,
    instant,
    integer,
    key,
    number,
    owner,
    series,
    text,
)
from strava_pipeline.warehouse.schema.tables import SCHEMA, metadata

# Raise it with each change of a formula: activities with another version are analysed anew.
ANALYSIS_VERSION = 1


def _slope_columns(kind: str, change: str) -> list[Column[Any]]:
    """The columns that climbs and descents have in common."""
    return [
        activity_key(),
        key("number", Integer, f"number of the {kind} within the activity, from 1"),
        owner(),
        number("start_m", "where it begins, metres from the start of the activity"),
        number("end_m", "where it ends, metres from the start of the activity"),
        integer("start_index", "index of its first sample in the streams"),
        integer("end_index", "index of its last sample in the streams"),
        number("start_s", "when it begins, seconds since the start of the activity"),
        number("elapsed_time_s", "time from its start to its end, s"),
        number("length_m", "length, m"),
        number("change_m", f"{change}, m"),
        number("average_grade_percent", "average grade, percent"),
        number("max_grade_percent", "grade of its steepest hundred metres, percent"),
        text("category", "HC, 1, 2, 3 or 4 by Strava's rule; empty: none"),
        number("vam_m_per_h", "metres climbed per hour (VAM), m/h"),
        number("average_speed_mps", "mean speed, m/s"),
        number("average_power_w", "mean power, W"),
        number("average_heartrate_bpm", "mean heart rate, bpm"),
    ]


route_analyses = Table(
    "route_analyses",
    metadata,
    activity_key(),
    owner(),
    integer("point_count", "samples the figures come from", required=True),
    number("distance_m", "length by the recorded distance, or by the positions where there is none, m"),
    number("elapsed_time_s", "time from the first to the last sample, s"),
    number("moving_time_s", "time in motion, s"),
    number("elevation_gain_m", "metres climbed, m"),
    number("elevation_loss_m", "metres descended, m"),
    number("average_speed_mps", "distance over moving time, m/s"),
    number("max_speed_mps", "highest speed, m/s"),
    number("average_heartrate_bpm", "mean heart rate over time, bpm"),
    number("max_heartrate_bpm", "highest heart rate, bpm"),
    number("average_power_w", "mean power over moving time, W"),
    number("max_power_w", "highest power, W"),
    instant("streams_fetched_at", "which streams the figures come from", required=True),
    instant("analysed_at", "when the figures were computed (UTC)", required=True),
    integer("analysis_version", "version of the formulas; empty: before there were versions"),
    number("haversine_distance_m", "length along the recorded positions, m"),
    number("stopped_time_s", "elapsed time that was not in motion, s"),
    number("highest_altitude_m", "highest point, m above sea level"),
    number("lowest_altitude_m", "lowest point, m above sea level"),
    flag("barometric_altitude", "the altitude is as even as a barometer's; decides how much it is smoothed"),
    number("pace_s_per_km", "moving time per kilometre, s"),
    number("grade_adjusted_speed_mps", "speed on the flat of the same running effort (Minetti 2002), m/s"),
    number("grade_adjusted_pace_s_per_km", "pace on the flat of the same running effort (Minetti 2002), s per km"),
    number("average_cadence_rpm", "mean cadence, rpm (runs: steps of one leg per minute)"),
    number("average_temperature_c", "mean temperature, degrees Celsius"),
    number("normalized_power_w", "normalized power (Coggan), W"),
    number("power_variability", "normalized power over mean power, a ratio"),
    number("intensity", "normalized power over threshold power (Coggan), a ratio"),
    number("training_stress", "training stress by power (Coggan); 100: an hour at threshold power"),
    number("work_kj", "work done, kJ"),
    number("efficiency_w_per_bpm", "normalized power over mean heart rate (Friel), W per bpm"),
    number("decoupling_percent", "loss of power per heartbeat from the first half to the second (Friel), percent"),
    number("training_impulse", "TRIMP (Banister): minutes weighted by heart rate reserve"),
    number("heart_rate_stress", "training stress by heart rate; 100: an hour at threshold heart rate"),
    number("training_load", "training stress by measured power, else by heart rate; what training_load adds up"),
    text("load_source", "where training_load comes from: power or heart_rate"),
    integer("gap_count", "pauses of the recording"),
    number("gap_time_s", "time without samples, s"),
    integer("jump_count", "jumps of the position or the distance that were left out"),
    number("stuck_time_s", "time during which a sensor repeated itself and was left out, s"),
    integer("implausible_count", "samples that cannot be true and were left out"),
    column("faults", JSON, "what was left out: kind, series, start_s and end_s since the start, samples"),
    column("grades_m", JSON, "metres ridden or run by grade in percent, such as 3..6"),
    text("route_kind", "loop, out_and_back or point_to_point; empty without positions"),
    number("south_deg", "southern edge of the positions, degrees north"),
    number("west_deg", "western edge, degrees east; greater than east_deg across the antimeridian"),
    number("north_deg", "northern edge, degrees north"),
    number("east_deg", "eastern edge, degrees east"),
    integer("left_turns", "turns to the left of at least 45 degrees on the simplified line"),
    integer("right_turns", "turns to the right of at least 45 degrees on the simplified line"),
    text("route_polyline", "line simplified to 10 m, encoded polyline of precision 5"),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="one row per activity with streams: figures computed from its samples",
)

climbs = Table(
    "climbs",
    metadata,
    *_slope_columns("climb", "metres climbed"),
    schema=SCHEMA,
    comment="one row per climb within an activity: at least 300 m long, 3 percent steep and 15 m high",
)

descents = Table(
    "descents",
    metadata,
    *_slope_columns("descent", "height at the end minus height at the start, negative"),
    schema=SCHEMA,
    comment="one row per descent within an activity, found like climbs upside down",
)

stops = Table(
    "stops",
    metadata,
    activity_key(),
    key("number", Integer, "number of the stop within the activity, from 1"),
    owner(),
    number("start_s", "when it begins, seconds since the start of the activity"),
    number("length_s", "how long it lasts, s"),
    number("along_m", "where it is, metres from the start of the activity"),
    number("latitude_deg", "where it is, degrees north"),
    number("longitude_deg", "where it is, degrees east"),
    schema=SCHEMA,
    comment="one row per stop of at least ten seconds within an activity",
)

power_curve = Table(
    "power_curve",
    metadata,
    activity_key(),
    key("duration_s", Integer, "length of the effort, s"),
    owner(),
    number("power_w", "best mean power, W"),
    number("power_start_s", "when that effort begins, seconds since the start of the activity"),
    number("heart_rate_bpm", "highest mean heart rate, bpm"),
    number("heart_rate_start_s", "when that effort begins, seconds since the start of the activity"),
    number("speed_mps", "highest mean speed, m/s"),
    number("speed_start_s", "when that effort begins, seconds since the start of the activity"),
    Index(None, "athlete_id", "duration_s"),
    schema=SCHEMA,
    comment="one row per activity and duration: best means of power, heart rate and speed",
)

distance_efforts = Table(
    "distance_efforts",
    metadata,
    activity_key(),
    key("distance_m", Double, "length of the effort, m"),
    owner(),
    number("elapsed_time_s", "shortest time for it, halts included, s"),
    number("start_s", "when it begins, seconds since the start of the activity"),
    number("start_m", "where it begins, metres from the start of the activity"),
    Index(None, "athlete_id", "distance_m"),
    schema=SCHEMA,
    comment="one row per activity and standard distance: the fastest stretch of that length",
)

computed_splits = Table(
    "computed_splits",
    metadata,
    activity_key(),
    key("unit", Text, "metric: per km, standard: per mile"),
    key("split", Integer, "number of the split, from 1"),
    owner(),
    number("distance_m", "length, m; the last one is what remains"),
    number("elapsed_time_s", "time from start to end, s"),
    number("moving_time_s", "time in motion, s"),
    number("elevation_difference_m", "height at the end minus height at the start, m"),
    number("average_speed_mps", "distance over moving time, m/s"),
    number("grade_adjusted_speed_mps", "speed on the flat of the same running effort (Minetti 2002), m/s"),
    number("average_heartrate_bpm", "mean heart rate, bpm"),
    number("average_power_w", "mean power, W"),
    number("average_cadence_rpm", "mean cadence, rpm"),
    schema=SCHEMA,
    comment="one row per kilometre and per mile of an activity, computed from its samples",
)

zone_times = Table(
    "zone_times",
    metadata,
    activity_key(),
    key("kind", Text, "heart_rate or power"),
    key("zone", Integer, "number of the zone, from 1"),
    owner(),
    number("low", "lower bound, bpm or W"),
    number("high", "upper bound, bpm or W; empty: none"),
    number("time_s", "time in the zone, s"),
    schema=SCHEMA,
    comment="one row per activity and zone, by the zones valid that day",
)

route_matches = Table(
    "route_matches",
    metadata,
    activity_key(),
    owner(),
    bigint("route_id", "the route: id of the activity that was the first to be found on it", required=True),
    column("reversed", Boolean, "taken the other way round than by that activity", required=True),
    number("shared", "part of the points that lie on the route, 0 to 1; 1 for the first one"),
    number("length_m", "length along the positions, m"),
    series("latitude", "128 positions at even distances: degrees north"),
    series("longitude", "128 positions at even distances: degrees east, unwrapped at the antimeridian"),
    Index(None, "athlete_id", "route_id"),
    schema=SCHEMA,
    comment="one row per activity with positions: the route it took; route_ranks tells the ranks on it",
)

training_load = Table(
    "training_load",
    metadata,
    key("athlete_id", BigInteger, "Strava's id of the athlete"),
    key("day", Date, "day, by the local start of its activities"),
    integer("activity_count", "activities that started that day", required=True),
    number("load", "training load of the day; 100: an hour at threshold"),
    number("fitness", "load remembered over 42 days (CTL)"),
    number("fatigue", "load remembered over 7 days (ATL)"),
    number("form", "fitness minus fatigue on the day before (TSB)"),
    number("week_load", "load of the last seven days"),
    number("monotony", "mean over standard deviation of the last seven days (Foster); empty: all alike"),
    number("strain", "week_load times monotony (Foster)"),
    instant("computed_at", "when the row was computed (UTC)", required=True),
    schema=SCHEMA,
    comment="one row per athlete and day from the first activity on",
)

# The tables with several rows of one activity, and route_matches: replaced as a whole with each analysis.
PARTS = (climbs, descents, stops, power_curve, distance_efforts, computed_splits, zone_times, route_matches)
ANALYSIS_TABLES = (route_analyses, *PARTS)
