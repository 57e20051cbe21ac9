"""What is computed from samples."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _extend_route_analyses()
    _create_climbs()
    _create_computed_splits()
    _create_descents()
    _create_distance_efforts()
    _create_power_curve()
    _create_route_matches()
    _create_stops()
    _create_training_load()
    _create_zone_times()


def _extend_route_analyses() -> None:
    for column in (
        sa.Column(
            "analysis_version",
            sa.Integer(),
            nullable=True,
            comment="version of the formulas; empty: before there were versions",
        ),
        sa.Column("haversine_distance_m", sa.Double(), nullable=True, comment="length along the recorded positions, m"),
        sa.Column("stopped_time_s", sa.Double(), nullable=True, comment="elapsed time that was not in motion, s"),
        sa.Column("highest_altitude_m", sa.Double(), nullable=True, comment="highest point, m above sea level"),
        sa.Column("lowest_altitude_m", sa.Double(), nullable=True, comment="lowest point, m above sea level"),
        sa.Column(
            "barometric_altitude",
            sa.Boolean(),
            nullable=True,
            comment="the altitude is as even as a barometer's; decides how much it is smoothed",
        ),
        sa.Column("pace_s_per_km", sa.Double(), nullable=True, comment="moving time per kilometre, s"),
        sa.Column(
            "grade_adjusted_speed_mps",
            sa.Double(),
            nullable=True,
            comment="speed on the flat of the same running effort (Minetti 2002), m/s",
        ),
        sa.Column(
            "grade_adjusted_pace_s_per_km",
            sa.Double(),
            nullable=True,
            comment="pace on the flat of the same running effort (Minetti 2002), s per km",
        ),
        sa.Column(
            "average_cadence_rpm",
            sa.Double(),
            nullable=True,
            comment="mean cadence, rpm (runs: steps of one leg per minute)",
        ),
        sa.Column("average_temperature_c", sa.Double(), nullable=True, comment="mean temperature, degrees Celsius"),
        sa.Column("normalized_power_w", sa.Double(), nullable=True, comment="normalized power (Coggan), W"),
        sa.Column("power_variability", sa.Double(), nullable=True, comment="normalized power over mean power, a ratio"),
        sa.Column(
            "intensity", sa.Double(), nullable=True, comment="normalized power over threshold power (Coggan), a ratio"
        ),
        sa.Column(
            "training_stress",
            sa.Double(),
            nullable=True,
            comment="training stress by power (Coggan); 100: an hour at threshold power",
        ),
        sa.Column("work_kj", sa.Double(), nullable=True, comment="work done, kJ"),
        sa.Column(
            "efficiency_w_per_bpm",
            sa.Double(),
            nullable=True,
            comment="normalized power over mean heart rate (Friel), W per bpm",
        ),
        sa.Column(
            "decoupling_percent",
            sa.Double(),
            nullable=True,
            comment="loss of power per heartbeat from the first half to the second (Friel), percent",
        ),
        sa.Column(
            "training_impulse",
            sa.Double(),
            nullable=True,
            comment="TRIMP (Banister): minutes weighted by heart rate reserve",
        ),
        sa.Column(
            "heart_rate_stress",
            sa.Double(),
            nullable=True,
            comment="training stress by heart rate; 100: an hour at threshold heart rate",
        ),
        sa.Column(
            "training_load",
            sa.Double(),
            nullable=True,
            comment="training stress by measured power, else by heart rate; what training_load adds up",
        ),
        sa.Column(
            "load_source", sa.Text(), nullable=True, comment="where training_load comes from: power or heart_rate"
        ),
        sa.Column("gap_count", sa.Integer(), nullable=True, comment="pauses of the recording"),
        sa.Column("gap_time_s", sa.Double(), nullable=True, comment="time without samples, s"),
        sa.Column(
            "jump_count",
            sa.Integer(),
            nullable=True,
            comment="jumps of the position or the distance that were left out",
        ),
        sa.Column(
            "stuck_time_s",
            sa.Double(),
            nullable=True,
            comment="time during which a sensor repeated itself and was left out, s",
        ),
        sa.Column(
            "implausible_count", sa.Integer(), nullable=True, comment="samples that cannot be true and were left out"
        ),
        sa.Column(
            "faults",
            postgresql.JSON(astext_type=sa.Text()),
            nullable=True,
            comment="what was left out: kind, series, start_s and end_s since the start, samples",
        ),
        sa.Column(
            "grades_m",
            postgresql.JSON(astext_type=sa.Text()),
            nullable=True,
            comment="metres ridden or run by grade in percent, such as 3..6",
        ),
        sa.Column(
            "route_kind",
            sa.Text(),
            nullable=True,
            comment="loop, out_and_back or point_to_point; empty without positions",
        ),
        sa.Column("south_deg", sa.Double(), nullable=True, comment="southern edge of the positions, degrees north"),
        sa.Column(
            "west_deg",
            sa.Double(),
            nullable=True,
            comment="western edge, degrees east; greater than east_deg across the antimeridian",
        ),
        sa.Column("north_deg", sa.Double(), nullable=True, comment="northern edge, degrees north"),
        sa.Column("east_deg", sa.Double(), nullable=True, comment="eastern edge, degrees east"),
        sa.Column(
            "left_turns",
            sa.Integer(),
            nullable=True,
            comment="turns to the left of at least 45 degrees on the simplified line",
        ),
        sa.Column(
            "right_turns",
            sa.Integer(),
            nullable=True,
            comment="turns to the right of at least 45 degrees on the simplified line",
        ),
        sa.Column(
            "route_polyline",
            sa.Text(),
            nullable=True,
            comment="line simplified to 10 m, encoded polyline of precision 5",
        ),
    ):
        op.add_column("route_analyses", column, schema="strava")
    op.alter_column(
        "route_analyses",
        "average_power_w",
        existing_type=sa.DOUBLE_PRECISION(precision=53),
        comment="mean power over moving time, W",
        existing_comment="mean power over time, W",
        existing_nullable=True,
        schema="strava",
    )
    op.create_index(
        op.f("ix_route_analyses_athlete_id"), "route_analyses", ["athlete_id"], unique=False, schema="strava"
    )


def _create_climbs() -> None:
    op.create_table(
        "climbs",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="number of the climb within the activity, from 1",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "start_m", sa.Double(), nullable=True, comment="where it begins, metres from the start of the activity"
        ),
        sa.Column("end_m", sa.Double(), nullable=True, comment="where it ends, metres from the start of the activity"),
        sa.Column("start_index", sa.Integer(), nullable=True, comment="index of its first sample in the streams"),
        sa.Column("end_index", sa.Integer(), nullable=True, comment="index of its last sample in the streams"),
        sa.Column(
            "start_s", sa.Double(), nullable=True, comment="when it begins, seconds since the start of the activity"
        ),
        sa.Column("elapsed_time_s", sa.Double(), nullable=True, comment="time from its start to its end, s"),
        sa.Column("length_m", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("change_m", sa.Double(), nullable=True, comment="metres climbed, m"),
        sa.Column("average_grade_percent", sa.Double(), nullable=True, comment="average grade, percent"),
        sa.Column(
            "max_grade_percent", sa.Double(), nullable=True, comment="grade of its steepest hundred metres, percent"
        ),
        sa.Column("category", sa.Text(), nullable=True, comment="HC, 1, 2, 3 or 4 by Strava's rule; empty: none"),
        sa.Column("vam_m_per_h", sa.Double(), nullable=True, comment="metres climbed per hour (VAM), m/h"),
        sa.Column("average_speed_mps", sa.Double(), nullable=True, comment="mean speed, m/s"),
        sa.Column("average_power_w", sa.Double(), nullable=True, comment="mean power, W"),
        sa.Column("average_heartrate_bpm", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.PrimaryKeyConstraint("activity_id", "number", name=op.f("pk_climbs")),
        schema="strava",
        comment="one row per climb within an activity: at least 300 m long, 3 percent steep and 15 m high",
    )


def _create_computed_splits() -> None:
    op.create_table(
        "computed_splits",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column("unit", sa.Text(), autoincrement=False, nullable=False, comment="metric: per km, standard: per mile"),
        sa.Column("split", sa.Integer(), autoincrement=False, nullable=False, comment="number of the split, from 1"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("distance_m", sa.Double(), nullable=True, comment="length, m; the last one is what remains"),
        sa.Column("elapsed_time_s", sa.Double(), nullable=True, comment="time from start to end, s"),
        sa.Column("moving_time_s", sa.Double(), nullable=True, comment="time in motion, s"),
        sa.Column(
            "elevation_difference_m",
            sa.Double(),
            nullable=True,
            comment="height at the end minus height at the start, m",
        ),
        sa.Column("average_speed_mps", sa.Double(), nullable=True, comment="distance over moving time, m/s"),
        sa.Column(
            "grade_adjusted_speed_mps",
            sa.Double(),
            nullable=True,
            comment="speed on the flat of the same running effort (Minetti 2002), m/s",
        ),
        sa.Column("average_heartrate_bpm", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.Column("average_power_w", sa.Double(), nullable=True, comment="mean power, W"),
        sa.Column("average_cadence_rpm", sa.Double(), nullable=True, comment="mean cadence, rpm"),
        sa.PrimaryKeyConstraint("activity_id", "unit", "split", name=op.f("pk_computed_splits")),
        schema="strava",
        comment="one row per kilometre and per mile of an activity, computed from its samples",
    )


def _create_descents() -> None:
    op.create_table(
        "descents",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="number of the descent within the activity, from 1",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "start_m", sa.Double(), nullable=True, comment="where it begins, metres from the start of the activity"
        ),
        sa.Column("end_m", sa.Double(), nullable=True, comment="where it ends, metres from the start of the activity"),
        sa.Column("start_index", sa.Integer(), nullable=True, comment="index of its first sample in the streams"),
        sa.Column("end_index", sa.Integer(), nullable=True, comment="index of its last sample in the streams"),
        sa.Column(
            "start_s", sa.Double(), nullable=True, comment="when it begins, seconds since the start of the activity"
        ),
        sa.Column("elapsed_time_s", sa.Double(), nullable=True, comment="time from its start to its end, s"),
        sa.Column("length_m", sa.Double(), nullable=True, comment="length, m"),
        sa.Column(
            "change_m", sa.Double(), nullable=True, comment="height at the end minus height at the start, negative, m"
        ),
        sa.Column("average_grade_percent", sa.Double(), nullable=True, comment="average grade, percent"),
        sa.Column(
            "max_grade_percent", sa.Double(), nullable=True, comment="grade of its steepest hundred metres, percent"
        ),
        sa.Column("category", sa.Text(), nullable=True, comment="HC, 1, 2, 3 or 4 by Strava's rule; empty: none"),
        sa.Column("vam_m_per_h", sa.Double(), nullable=True, comment="metres climbed per hour (VAM), m/h"),
        sa.Column("average_speed_mps", sa.Double(), nullable=True, comment="mean speed, m/s"),
        sa.Column("average_power_w", sa.Double(), nullable=True, comment="mean power, W"),
        sa.Column("average_heartrate_bpm", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.PrimaryKeyConstraint("activity_id", "number", name=op.f("pk_descents")),
        schema="strava",
        comment="one row per descent within an activity, found like climbs upside down",
    )


def _create_distance_efforts() -> None:
    op.create_table(
        "distance_efforts",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column("distance_m", sa.Double(), autoincrement=False, nullable=False, comment="length of the effort, m"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("elapsed_time_s", sa.Double(), nullable=True, comment="shortest time for it, halts included, s"),
        sa.Column(
            "start_s", sa.Double(), nullable=True, comment="when it begins, seconds since the start of the activity"
        ),
        sa.Column(
            "start_m", sa.Double(), nullable=True, comment="where it begins, metres from the start of the activity"
        ),
        sa.PrimaryKeyConstraint("activity_id", "distance_m", name=op.f("pk_distance_efforts")),
        schema="strava",
        comment="one row per activity and standard distance: the fastest stretch of that length",
    )
    op.create_index(
        op.f("ix_distance_efforts_athlete_id_distance_m"),
        "distance_efforts",
        ["athlete_id", "distance_m"],
        unique=False,
        schema="strava",
    )


def _create_power_curve() -> None:
    op.create_table(
        "power_curve",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column("duration_s", sa.Integer(), autoincrement=False, nullable=False, comment="length of the effort, s"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("power_w", sa.Double(), nullable=True, comment="best mean power, W"),
        sa.Column(
            "power_start_s",
            sa.Double(),
            nullable=True,
            comment="when that effort begins, seconds since the start of the activity",
        ),
        sa.Column("heart_rate_bpm", sa.Double(), nullable=True, comment="highest mean heart rate, bpm"),
        sa.Column(
            "heart_rate_start_s",
            sa.Double(),
            nullable=True,
            comment="when that effort begins, seconds since the start of the activity",
        ),
        sa.Column("speed_mps", sa.Double(), nullable=True, comment="highest mean speed, m/s"),
        sa.Column(
            "speed_start_s",
            sa.Double(),
            nullable=True,
            comment="when that effort begins, seconds since the start of the activity",
        ),
        sa.PrimaryKeyConstraint("activity_id", "duration_s", name=op.f("pk_power_curve")),
        schema="strava",
        comment="one row per activity and duration: best means of power, heart rate and speed",
    )
    op.create_index(
        op.f("ix_power_curve_athlete_id_duration_s"),
        "power_curve",
        ["athlete_id", "duration_s"],
        unique=False,
        schema="strava",
    )


def _create_route_matches() -> None:
    op.create_table(
        "route_matches",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "route_id",
            sa.BigInteger(),
            nullable=False,
            comment="the route: id of the activity that was the first to be found on it",
        ),
        sa.Column("reversed", sa.Boolean(), nullable=False, comment="taken the other way round than by that activity"),
        sa.Column(
            "shared",
            sa.Double(),
            nullable=True,
            comment="part of the points that lie on the route, 0 to 1; 1 for the first one",
        ),
        sa.Column("length_m", sa.Double(), nullable=True, comment="length along the positions, m"),
        sa.Column(
            "latitude",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="128 positions at even distances: degrees north",
        ),
        sa.Column(
            "longitude",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="128 positions at even distances: degrees east, unwrapped at the antimeridian",
        ),
        sa.PrimaryKeyConstraint("activity_id", name=op.f("pk_route_matches")),
        schema="strava",
        comment="one row per activity with positions: the route it took; route_ranks tells the ranks on it",
    )
    op.create_index(
        op.f("ix_route_matches_athlete_id_route_id"),
        "route_matches",
        ["athlete_id", "route_id"],
        unique=False,
        schema="strava",
    )


def _create_stops() -> None:
    op.create_table(
        "stops",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="number of the stop within the activity, from 1",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "start_s", sa.Double(), nullable=True, comment="when it begins, seconds since the start of the activity"
        ),
        sa.Column("length_s", sa.Double(), nullable=True, comment="how long it lasts, s"),
        sa.Column("along_m", sa.Double(), nullable=True, comment="where it is, metres from the start of the activity"),
        sa.Column("latitude_deg", sa.Double(), nullable=True, comment="where it is, degrees north"),
        sa.Column("longitude_deg", sa.Double(), nullable=True, comment="where it is, degrees east"),
        sa.PrimaryKeyConstraint("activity_id", "number", name=op.f("pk_stops")),
        schema="strava",
        comment="one row per stop of at least ten seconds within an activity",
    )


def _create_training_load() -> None:
    op.create_table(
        "training_load",
        sa.Column(
            "athlete_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the athlete"
        ),
        sa.Column(
            "day", sa.Date(), autoincrement=False, nullable=False, comment="day, by the local start of its activities"
        ),
        sa.Column("activity_count", sa.Integer(), nullable=False, comment="activities that started that day"),
        sa.Column("load", sa.Double(), nullable=True, comment="training load of the day; 100: an hour at threshold"),
        sa.Column("fitness", sa.Double(), nullable=True, comment="load remembered over 42 days (CTL)"),
        sa.Column("fatigue", sa.Double(), nullable=True, comment="load remembered over 7 days (ATL)"),
        sa.Column("form", sa.Double(), nullable=True, comment="fitness minus fatigue on the day before (TSB)"),
        sa.Column("week_load", sa.Double(), nullable=True, comment="load of the last seven days"),
        sa.Column(
            "monotony",
            sa.Double(),
            nullable=True,
            comment="mean over standard deviation of the last seven days (Foster); empty: all alike",
        ),
        sa.Column("strain", sa.Double(), nullable=True, comment="week_load times monotony (Foster)"),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False, comment="when the row was computed (UTC)"),
        sa.PrimaryKeyConstraint("athlete_id", "day", name=op.f("pk_training_load")),
        schema="strava",
        comment="one row per athlete and day from the first activity on",
    )


def _create_zone_times() -> None:
    op.create_table(
        "zone_times",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column("kind", sa.Text(), autoincrement=False, nullable=False, comment="heart_rate or power"),
        sa.Column("zone", sa.Integer(), autoincrement=False, nullable=False, comment="number of the zone, from 1"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("low", sa.Double(), nullable=True, comment="lower bound, bpm or W"),
        sa.Column("high", sa.Double(), nullable=True, comment="upper bound, bpm or W; empty: none"),
        sa.Column("time_s", sa.Double(), nullable=True, comment="time in the zone, s"),
        sa.PrimaryKeyConstraint("activity_id", "kind", "zone", name=op.f("pk_zone_times")),
        schema="strava",
        comment="one row per activity and zone, by the zones valid that day",
    )
