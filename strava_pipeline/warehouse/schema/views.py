"""The analysts' views for frequent queries: samples, activities by sport, totals, gear and records.

``migrate`` creates them after the tables. An existing column keeps its name and position, and new columns come last,
because analysts' own views may build on these.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from strava_pipeline.warehouse.schema.analysis_views import ANALYSIS_VIEWS
from strava_pipeline.warehouse.schema.declared_view import DeclaredView, create
from strava_pipeline.warehouse.schema.tables import SCHEMA, activities, best_efforts

RIDES = ("Ride", "GravelRide", "MountainBikeRide", "EBikeRide", "EMountainBikeRide", "VirtualRide", "Velomobile")
RUNS = ("Run", "TrailRun", "VirtualRun")
SWIMS = ("Swim",)
KM_PER_HOUR = 3.6


def _told(table: Table, *names: str) -> dict[str, str]:
    """The comments of columns that mean the same in a view as in their table."""
    return {name: str(table.c[name].comment) for name in names}


_OF_ANY_SPORT = (
    "id", "athlete_id", "name", "sport_type", "start_date", "start_date_local", "distance", "moving_time",
    "elapsed_time", "total_elevation_gain", "average_speed", "max_speed", "average_heartrate", "max_heartrate",
    "suffer_score", "calories", "gear_id", "commute", "trainer", "manual", "private",
)  # fmt: skip
_HIDDEN = {"start_time_hidden": "Strava hides the start time: only the day of start_date_local holds"}


def _of_sport(
    name: str, comment: str, kinds: Sequence[str], own: Sequence[str], figure: str, expression: str, meaning: str
) -> DeclaredView:
    """Declare a view of the activities of some sport types (``kinds``).

    Its columns are those of any sport, those that only these sports have (``own``), and one ``figure``, computed by
    ``expression``, with its ``meaning`` as comment.
    """
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    columns = (*_OF_ANY_SPORT, *own)
    return DeclaredView(
        name,
        comment,
        f"SELECT {', '.join(columns)}, start_date_local::time = '00:00:01' AS start_time_hidden,"  # noqa: S608  constants
        f" {expression} AS {figure} FROM {SCHEMA}.activities WHERE sport_type IN ({listed})",
        _told(activities, *columns) | _HIDDEN | {figure: meaning},
    )


_TOTALS = """
       count(*)::integer AS activity_count, coalesce(sum(distance), 0) AS distance,
       coalesce(sum(moving_time), 0)::bigint AS moving_time, coalesce(sum(elapsed_time), 0)::bigint AS elapsed_time,
       coalesce(sum(total_elevation_gain), 0) AS total_elevation_gain, sum(calories) AS calories,
       sum(suffer_score) AS suffer_score
"""
_LOCAL = "coalesce(start_date_local, start_date AT TIME ZONE 'UTC')"
_TOTALS_TOLD = {
    "activity_count": "number of activities",
    "distance": "length, m",
    "moving_time": "time in motion, s",
    "elapsed_time": "time from start to end, s",
    "total_elevation_gain": "metres climbed, m",
    "calories": "energy, kcal; empty as long as no detail tells it",
    "suffer_score": "sum of Strava's relative effort",
}

VIEWS = (
    DeclaredView(
        "activity_points",
        "one row per sample of each activity",
        """
SELECT s.activity_id, s.athlete_id, p.number - 1 AS point_index,
       p.time, p.distance, p.latitude, p.longitude, p.altitude, p.velocity_smooth, p.heartrate, p.cadence, p.watts,
       p.temp, p.moving, p.grade_smooth
FROM strava.activity_streams AS s
CROSS JOIN LATERAL unnest(
    s.time, s.distance, s.latitude, s.longitude, s.altitude, s.velocity_smooth, s.heartrate, s.cadence, s.watts,
    s.temp, s.moving, s.grade_smooth
) WITH ORDINALITY AS p(
    time, distance, latitude, longitude, altitude, velocity_smooth, heartrate, cadence, watts,
    temp, moving, grade_smooth, number
)
""",
        {
            "activity_id": "Strava's id of the activity",
            "athlete_id": "Strava's id of the athlete",
            "point_index": "number of the sample, from 0; what start_index and end_index of laps and efforts count",
            "time": "since the start, s",
            "distance": "since the start, m",
            "latitude": "degrees north",
            "longitude": "degrees east",
            "altitude": "m above sea level",
            "velocity_smooth": "speed, m/s",
            "heartrate": "heart rate, bpm",
            "cadence": "cadence, rpm",
            "watts": "power, W",
            "temp": "temperature, degrees Celsius",
            "moving": "in motion",
            "grade_smooth": "grade, percent",
        },
    ),
    _of_sport(
        "rides",
        "one row per ride, indoor, electric and virtual ones included",
        RIDES,
        ("average_watts", "weighted_average_watts", "max_watts", "kilojoules", "device_watts", "average_cadence"),
        "average_speed_kmh",
        f"average_speed * {KM_PER_HOUR}",
        "distance over moving time, km/h",
    ),
    _of_sport(
        "runs",
        "one row per run, trail and virtual ones included",
        RUNS,
        ("workout_type", "average_cadence"),
        "pace_s_per_km",
        "1000 / nullif(average_speed, 0)",
        "moving time over distance, s per km",
    ),
    _of_sport(
        "swims",
        "one row per swim",
        SWIMS,
        (),
        "pace_s_per_100m",
        "100 / nullif(average_speed, 0)",
        "moving time over distance, s per 100 m",
    ),
    DeclaredView(
        "weekly_totals",
        "one row per athlete, ISO week of the local start, and sport type; a week begins on Monday",
        f"SELECT athlete_id, date_trunc('week', {_LOCAL})::date AS week_start,"  # noqa: S608  constants
        f" to_char({_LOCAL}, 'IYYY-\"W\"IW') AS iso_week, sport_type, {_TOTALS}"
        f" FROM {SCHEMA}.activities GROUP BY athlete_id, week_start, iso_week, sport_type",
        {
            "athlete_id": "Strava's id of the athlete",
            "week_start": "Monday of the week, local",
            "iso_week": "year and number of the week by ISO 8601, such as 2026-W01",
            "sport_type": "kind of sport",
            **_TOTALS_TOLD,
        },
    ),
    DeclaredView(
        "monthly_totals",
        "one row per athlete, month of the local start, and sport type",
        f"SELECT athlete_id, date_trunc('month', {_LOCAL})::date AS month_start, sport_type, {_TOTALS}"  # noqa: S608  constants
        f" FROM {SCHEMA}.activities GROUP BY athlete_id, month_start, sport_type",
        {
            "athlete_id": "Strava's id of the athlete",
            "month_start": "first day of the month, local",
            "sport_type": "kind of sport",
            **_TOTALS_TOLD,
        },
    ),
    DeclaredView(
        "gear_mileage",
        "one row per bike or pair of shoes, with what the stored activities did with it",
        """
SELECT u.gear_id, u.athlete_id, g.name,
       CASE left(u.gear_id, 1) WHEN 'b' THEN 'bike' WHEN 'g' THEN 'shoes' END AS kind, g.retired,
       sum(u.activity_count)::integer AS activity_count, sum(u.distance) AS distance,
       sum(u.moving_time)::bigint AS moving_time, sum(u.total_elevation_gain) AS total_elevation_gain,
       max(u.first_used_local) AS first_used_local, max(u.last_used_local) AS last_used_local,
       g.distance AS distance_at_strava
FROM (
    SELECT gear_id, athlete_id, count(*) AS activity_count, coalesce(sum(distance), 0) AS distance,
           coalesce(sum(moving_time), 0) AS moving_time, coalesce(sum(total_elevation_gain), 0) AS total_elevation_gain,
           min(start_date_local) AS first_used_local, max(start_date_local) AS last_used_local
    FROM strava.activities WHERE gear_id IS NOT NULL GROUP BY gear_id, athlete_id
    UNION ALL
    SELECT id, athlete_id, 0, 0, 0, 0, NULL, NULL FROM strava.gear
) AS u
LEFT JOIN strava.gear AS g ON g.id = u.gear_id AND g.athlete_id = u.athlete_id
GROUP BY u.gear_id, u.athlete_id, g.id
""",
        {
            "gear_id": "Strava's id: b... a bike, g... a pair of shoes",
            "athlete_id": "Strava's id of the athlete",
            "name": "name given by the athlete or the maker; empty where Strava no longer lists it",
            "kind": "bike or shoes",
            "retired": "no longer in use",
            "activity_count": "number of stored activities with it",
            "distance": "length of those, m",
            "moving_time": "time in motion in those, s",
            "total_elevation_gain": "metres climbed in those, m",
            "first_used_local": "start of the first of those, local wall time",
            "last_used_local": "start of the last of those, local wall time",
            "distance_at_strava": "distance done with it by Strava's own count, what is not stored here included, m",
        },
    ),
    DeclaredView(
        "personal_records",
        "one row per athlete and standard distance run: the fastest stored effort; of equal ones the first",
        """
SELECT DISTINCT ON (athlete_id, name)
       athlete_id, name, distance, elapsed_time, distance / nullif(elapsed_time, 0) AS average_speed_mps,
       activity_id, id AS effort_id, start_date, start_date_local
FROM strava.best_efforts
ORDER BY athlete_id, name, elapsed_time, start_date
""",
        {
            "athlete_id": "Strava's id of the athlete",
            "name": "the distance in Strava's words, such as 5K",
            **_told(best_efforts, "distance", "elapsed_time"),
            "average_speed_mps": "distance over elapsed time, m/s",
            "activity_id": "Strava's id of the activity it was run in",
            "effort_id": "Strava's id of the effort",
            **_told(best_efforts, "start_date", "start_date_local"),
        },
    ),
    *ANALYSIS_VIEWS,
)


def create_views(connection: Connection) -> None:
    """Create or replace all views and their comments as declared."""
    for view in VIEWS:
        create(connection, view)
