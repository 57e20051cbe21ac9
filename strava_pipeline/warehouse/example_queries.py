"""Queries that show what the tables hold of an athlete whose archive was imported."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from strava_pipeline.warehouse.schema.tables import activities, activity_streams

# What each tells, and the query; each reads schema strava alone, and gives a few rows.
EXAMPLE_QUERIES: Final = {
    "All of it by sport": """\
SELECT sport_type, count(*) AS activities, round(sum(distance) / 1000)::integer AS km,
       round(sum(moving_time) / 3600.0)::integer AS hours, round(sum(total_elevation_gain))::integer AS climbed_m
FROM strava.activities GROUP BY sport_type ORDER BY activities DESC""",
    "The training load of the last days": """\
SELECT day, round(load)::integer AS load, round(fitness)::integer AS fitness, round(fatigue)::integer AS fatigue,
       round(form)::integer AS form
FROM strava.training_load ORDER BY day DESC LIMIT 5""",
    "The longest climbs, from the samples of the recordings": """\
SELECT start_date_local::date AS day, name, round(length_m)::integer AS metres, round(change_m)::integer AS climbed_m,
       round(average_grade_percent::numeric, 1) AS percent
FROM strava.climbs JOIN strava.activities ON id = activity_id ORDER BY change_m DESC, day LIMIT 5""",
    "The windiest outings, by the weather that only the archive tells": """\
SELECT start_date_local::date AS day, name, weather_wind_speed_mps AS wind_mps, weather_temperature_c AS celsius
FROM strava.archive_figures JOIN strava.activities ON id = activity_id
WHERE weather_wind_speed_mps IS NOT NULL ORDER BY weather_wind_speed_mps DESC, day LIMIT 5""",
}


def newest_recorded(connection: Connection) -> int | None:
    """Return the id of the newest activity that has samples; ``None`` if there is none."""
    query = (
        select(activities.c.id)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(activity_streams.c.point_count > 0)
        .order_by(activities.c.start_date.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()
