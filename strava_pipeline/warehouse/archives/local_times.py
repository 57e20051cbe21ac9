"""Local times of activities whose offset no source tells: that of the athlete's nearest activity is assumed."""

from __future__ import annotations

from sqlalchemy import Connection, text

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.engine import driver_errors

# Known are offsets that the API or a device told. Without any, the zone that the newest import was told counts.
# Windows read each activity once, however many there are; of two equally near ones the earlier counts.
_SETTLING = text("""
WITH zone AS (
    SELECT options->>'timezone' AS name FROM ops.archive_imports
    WHERE athlete_id = :athlete_id AND state <> 'undone' AND options->>'timezone' IS NOT NULL
    ORDER BY taken_at DESC, content_hash LIMIT 1
), theirs AS (
    SELECT id, start_date, offset_assumed IS TRUE AS is_assumed,
        CASE WHEN offset_assumed IS NOT TRUE AND utc_offset IS NOT NULL THEN start_date END AS known_at
    FROM strava.activities WHERE athlete_id = :athlete_id
), near AS (
    SELECT *, max(known_at) OVER (ORDER BY start_date, id) AS before,
        min(known_at) OVER (ORDER BY start_date DESC, id DESC) AS after
    FROM theirs
), known AS (
    SELECT DISTINCT ON (start_date) start_date, utc_offset FROM strava.activities
    WHERE athlete_id = :athlete_id AND offset_assumed IS NOT TRUE AND utc_offset IS NOT NULL
    ORDER BY start_date, id
), told AS (
    SELECT near.id, near.start_date AT TIME ZONE 'UTC' AS utc, coalesce(known.utc_offset, extract(epoch FROM
        (near.start_date AT TIME ZONE (SELECT name FROM zone)) - (near.start_date AT TIME ZONE 'UTC')
    )::double precision) AS seconds
    FROM near LEFT JOIN known ON known.start_date = CASE
        WHEN after IS NULL OR near.start_date - before <= after - near.start_date THEN before ELSE after END
    WHERE is_assumed
), changed AS (
    UPDATE strava.activities AS a
    SET utc_offset = told.seconds, start_date_local = told.utc + make_interval(secs => told.seconds)
    FROM told WHERE a.id = told.id AND a.utc_offset IS DISTINCT FROM told.seconds
    RETURNING a.id, told.seconds
), laps AS (
    UPDATE strava.laps AS l
    SET start_date_local = l.start_date AT TIME ZONE 'UTC' + make_interval(secs => changed.seconds)
    FROM changed WHERE l.activity_id = changed.id AND l.id < 0
)
SELECT id FROM changed
""")
_ANY_ASSUMED = text("SELECT EXISTS (SELECT FROM strava.activities WHERE athlete_id = :athlete_id AND offset_assumed)")


def settle_local_times(connection: Connection, athlete_id: int) -> None:
    """Fill in, or correct, the assumed local times of an athlete's activities. The caller holds the athlete's lock."""
    given = {"athlete_id": athlete_id}
    if connection.execute(_ANY_ASSUMED, given).scalar():
        mark_changed(connection, connection.execute(_SETTLING, given).scalars().all())


def check_zone(connection: Connection, name: str) -> None:
    """Raise ``ConfigurationError`` unless the database knows a time zone of this name."""
    known = text("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = :name)")
    with driver_errors(connection):
        if not connection.execute(known, {"name": name}).scalar():
            raise ConfigurationError(f"{name} is no time zone: give one such as Europe/Berlin")
