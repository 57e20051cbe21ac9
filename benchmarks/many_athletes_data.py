"""Fills a migrated database to the size of many athletes after years, within minutes, the same for each seed.

Athletes' activities lie spread over ten years, and beside each other in the tables, as they arrive day by day. One
athlete in ten is being imported: half of their details and samples lack. All lengths are small but for the number of
rows, so samples, polylines and answers take less room than Strava's.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

# Ids of athletes count from FIRST_ATHLETE, those of activities from FIRST_ACTIVITY.
FIRST_ATHLETE = 1_000_001
FIRST_ACTIVITY = 10_000_000_001
YEARS = 10
IMPORTING_ONE_IN = 10
POINTS = 3


@dataclass(frozen=True)
class Size:
    """How many athletes, and activities and events of each; ``live_calls``: calls of the lane live in two weeks.

    ``parts``: whether activities have laps, splits, figures and so on, forty rows each.
    """

    athletes: int = 1000
    activities_each: int = 1000
    events_each: int = 1000
    live_calls: int = 31_000
    parts: bool = True

    @property
    def activities(self) -> int:
        return self.athletes * self.activities_each

    @property
    def events(self) -> int:
        return self.athletes * self.events_each


# The activities: number, athlete, start, and numbers between 0 and 1 that the seed draws.
_GIVEN = """
CREATE TEMP TABLE given AS
SELECT n, :first_activity + n AS id, :first_athlete + n % :athletes AS athlete_id,
       date_trunc('second', now()) - interval '1 hour'
           - :years * interval '365 days' * (1 - (n / :athletes + r1) / :each) AS start_date,
       r1, r2, n % :athletes % :one_in = 0 AND r2 < 0.5 AS lacks
FROM generate_series(0, :athletes * :each - 1) AS n,
LATERAL (SELECT (hashint8extended(n, :seed) & 65535) / 65536.0::float8 AS r1,
                (hashint8extended(n, :seed + 1) & 65535) / 65536.0::float8 AS r2) AS drawn
"""
_ATHLETES = (
    """
INSERT INTO ops.users (athlete_id, scopes, state, generation)
SELECT :first_athlete + n, '{read,activity:read_all}', 'active', 1 FROM generate_series(0, :athletes - 1) AS n
""",
    """
INSERT INTO strava.athletes (id, firstname, lastname, fetched_at)
SELECT :first_athlete + n, 'Athlete', n::text, now() FROM generate_series(0, :athletes - 1) AS n
""",
)
_ACTIVITIES = (
    """
INSERT INTO strava.activities (id, athlete_id, resource_state, name, type, sport_type, start_date, start_date_local,
    timezone, utc_offset, distance, moving_time, elapsed_time, total_elevation_gain, average_speed, max_speed,
    has_heartrate, average_heartrate, max_heartrate, manual, private, visibility, gear_id, start_latlng,
    summary_polyline, upload_id, device_name, fetched_at)
SELECT id, athlete_id, CASE WHEN lacks THEN 2 ELSE 3 END, 'Ride ' || n, kind, kind, start_date,
    start_date AT TIME ZONE 'UTC', '(GMT+00:00) Europe/London', 0, 20000 + 30000 * r1, 3600 + (3600 * r1)::int,
    3700 + (3600 * r1)::int, 300 * r2, 5.5, 12.5, true, 120 + 30 * r1, 170 + 20 * r2, false, false, 'everyone',
    'b' || athlete_id, '{51.5,-0.1}', repeat('_p~iF~ps|U_ulLnnqC', 6), id, 'Odometer', now()
FROM given, LATERAL (SELECT CASE WHEN r1 < 0.7 THEN 'Ride' WHEN r1 < 0.95 THEN 'Run' ELSE 'Swim' END AS kind) AS kinds
ORDER BY n
""",
    # One activity in ten thousand was recorded twice.
    """
INSERT INTO strava.activities (id, athlete_id, resource_state, name, type, sport_type, start_date, elapsed_time,
    fetched_at)
SELECT id + 5000000000, athlete_id, 2, name, type, sport_type, start_date, elapsed_time, now()
FROM strava.activities WHERE id % 10000 = 1
""",
    """
INSERT INTO ops.payloads (activity_id, kind, athlete_id, body, digest, fetched_at)
SELECT id, kind, athlete_id,
    json_build_object('id', id, 'athlete', json_build_object('id', athlete_id), 'start_date', start_date,
        'elapsed_time', 3700, 'name', 'Ride ' || n, 'fill', repeat(md5(n::text), length)),
    md5(n::text), start_date + interval '1 hour'
FROM given, (VALUES ('summary', 12), ('detail', 25)) AS kinds(kind, length)
WHERE kind = 'summary' OR NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.activity_streams (activity_id, athlete_id, point_count, time, distance, latitude, longitude,
    altitude, heartrate, watts, moving, fetched_at)
SELECT id, athlete_id, CASE WHEN n % 100 = 7 THEN 0 ELSE :points END, '{0,1,2}', '{0,5,10}', '{51.5,51.5,51.5}',
    '{-0.1,-0.1,-0.1}', '{20,20,20}', '{110,111,112}', '{150,160,170}', '{t,t,t}', start_date + interval '3 days'
FROM given WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO ops.put_aside (activity_id, step, athlete_id, reason, span_start, span_end, since, tried_at, kind, tries,
    retry_at)
SELECT id, 'detail', athlete_id, 'Strava answers 500', start_date, start_date + interval '1 day', now(), now(),
    'unanswered', 1, now() + interval '1 day'
FROM given WHERE lacks AND n % 100 = 0
""",
    """
INSERT INTO ops.import_months (athlete_id, month, listed_at)
SELECT DISTINCT athlete_id, date_trunc('month', start_date AT TIME ZONE 'UTC')::date, now() FROM given
""",
    "INSERT INTO ops.changed_months (athlete_id, month) SELECT athlete_id, month FROM ops.import_months",
)
_PARTS = (
    """
INSERT INTO strava.power_curve (activity_id, duration_s, athlete_id, power_w, heart_rate_bpm, speed_mps)
SELECT id, duration, athlete_id, 400 - 10 * place + 50 * r1, 180 - place + 5 * r2, 15 - place / 2.0 + r1
FROM given, (VALUES (1, 1), (2, 5), (3, 10), (4, 30), (5, 60), (6, 120), (7, 300), (8, 600), (9, 1200), (10, 1800),
    (11, 3600), (12, 5400)) AS durations(place, duration)
WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.distance_efforts (activity_id, distance_m, athlete_id, elapsed_time_s)
SELECT id, distance, athlete_id, distance / (4 + r1) FROM given, (VALUES (400), (1000), (5000), (10000)) AS d(distance)
WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.route_analyses (activity_id, athlete_id, point_count, distance_m, moving_time_s, elevation_gain_m,
    streams_fetched_at, analysed_at, analysis_version, route_kind)
SELECT id, athlete_id, :points, 20000 + 30000 * r1, 3600 + 3600 * r1, 300 * r2, start_date, now(), 1, 'loop'
FROM given WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.route_matches (activity_id, athlete_id, route_id, reversed, shared, length_m, latitude, longitude)
SELECT id, athlete_id, :first_activity + n % (:athletes * 20), false, 0.95, 20000, '{51.5,51.6}', '{-0.1,-0.2}'
FROM given WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.laps (activity_id, id, athlete_id, name, distance, elapsed_time, lap_index)
SELECT id, id * 10 + place, athlete_id, 'Lap', 10000, 1800, place FROM given, generate_series(1, 2) AS place
WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.splits (activity_id, unit, split, athlete_id, distance, elapsed_time)
SELECT id, unit, split, athlete_id, 1000, 200
FROM given, generate_series(1, 2) AS split, (VALUES ('metric'), ('standard')) AS units(unit)
WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.computed_splits (activity_id, unit, split, athlete_id, distance_m, elapsed_time_s)
SELECT id, unit, split, athlete_id, 1000, 200
FROM given, generate_series(1, 2) AS split, (VALUES ('metric'), ('standard')) AS units(unit)
WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.zone_times (activity_id, kind, zone, athlete_id, time_s)
SELECT id, 'heart_rate', zone, athlete_id, 700 FROM given, generate_series(1, 5) AS zone WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.segment_efforts (activity_id, id, athlete_id, segment_id, name, elapsed_time)
SELECT id, id * 10 + place, athlete_id, (athlete_id - :first_athlete) * 20 + n % 11 + place, 'hill', 300
FROM given, generate_series(1, 2) AS place WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.segments (id, name, distance, fetched_at)
SELECT DISTINCT segment_id, 'hill', 1500.0, now() FROM strava.segment_efforts
""",
    """
INSERT INTO strava.climbs (activity_id, number, athlete_id, length_m, change_m)
SELECT id, 1, athlete_id, 900, 45 FROM given WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.descents (activity_id, number, athlete_id, length_m, change_m)
SELECT id, 1, athlete_id, 900, -45 FROM given WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.stops (activity_id, number, athlete_id, start_s, length_s)
SELECT id, 1, athlete_id, 900, 45 FROM given WHERE NOT lacks ORDER BY n
""",
    """
INSERT INTO strava.photos (activity_id, unique_id, athlete_id, urls)
SELECT id, md5(n::text), athlete_id, '{"600":"https://example.org/600.jpg"}' FROM given WHERE NOT lacks AND n % 3 = 0
ORDER BY n
""",
    """
INSERT INTO strava.best_efforts (activity_id, id, athlete_id, name, distance, elapsed_time)
SELECT id, id, athlete_id, '5K', 5000, 1500 + 300 * r1 FROM given WHERE NOT lacks AND r1 BETWEEN 0.7 AND 0.95
ORDER BY n
""",
    """
INSERT INTO strava.training_load (athlete_id, day, activity_count, load, fitness, fatigue, form, computed_at)
SELECT :first_athlete + n, day::date, 1, 50, 45, 55, -10, now() FROM generate_series(0, :athletes - 1) AS n,
    generate_series(now() - least(400, 4 * :each) * interval '1 day', now(), interval '1 day') AS day
""",
)
# Two years of events. Nearly all are done; of the last ones some are open, dead, parked or discarded.
_EVENTS = """
INSERT INTO ops.webhook_events (event_key, source, subscription_id, object_type, object_id, aspect_type, owner_id,
    event_time, updates, signed, received_at, state, run_id, finished_at, error_class, error, not_before, waiting_for,
    is_counted)
SELECT md5(n::text) || md5((n + 1)::text), CASE WHEN n % 20 = 3 THEN 'reconcile' ELSE 'webhook' END, 1, 'activity',
    :first_activity + n, 'create', :first_athlete + n % :athletes, at, '{}', true, at, state, md5((n / 2)::text),
    CASE WHEN state IN ('done', 'dead', 'discarded') THEN at + interval '5 seconds' END,
    CASE state WHEN 'dead' THEN 'permanent' END, CASE state WHEN 'dead' THEN 'Strava answers 500' END,
    CASE state WHEN 'waiting' THEN now() + interval '1 hour' END, CASE state WHEN 'waiting' THEN 'streams' END,
    state IN ('done', 'discarded')
FROM generate_series(0, :events - 1) AS n,
LATERAL (SELECT now() - interval '1 minute' - (:events - 1 - n) * interval '730 days' / :events AS at) AS times,
LATERAL (SELECT CASE WHEN n < :events - :events / 100 THEN 'done' WHEN n % 50 = 1 THEN 'received'
    WHEN n % 50 = 2 THEN 'waiting' WHEN n % 50 = 3 THEN 'dead' WHEN n % 100 = 4 THEN 'parked'
    WHEN n % 100 = 5 THEN 'discarded' WHEN n % 500 = 6 THEN 'launched' ELSE 'done' END AS state) AS states
ORDER BY n
"""
# A month of calls: the live ones of two weeks, and three backfill calls beside each of them.
_CALLS = """
INSERT INTO ops.api_calls (lane, endpoint, athlete_id, reserved_at, settled_at, status, duration_ms,
    is_counted)
SELECT CASE WHEN n % 4 = 0 THEN 'live' ELSE 'backfill' END, '/activities/{id}', :first_athlete + n % :athletes,
    at, at + interval '1 second', 200, 200, true
FROM generate_series(0, :live_calls * 4 - 1) AS n,
LATERAL (SELECT now() - interval '14 days' * (:live_calls * 4 - n) / (:live_calls * 4.0) AS at) AS times
ORDER BY n
"""
_SECONDARY = """
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS s ON s.oid = t.relnamespace
WHERE s.nspname IN ('strava', 'ops') AND NOT i.indisunique
"""


def fill(engine: Engine, size: Size, seed: int = 1) -> None:
    """Fill the empty tables of a migrated database; ``engine``: of the login that owns them."""
    statements = [*_ATHLETES, *_ACTIVITIES, *(_PARTS if size.parts else ()), _EVENTS, _CALLS]
    given = {
        "first_athlete": FIRST_ATHLETE,
        "first_activity": FIRST_ACTIVITY,
        "athletes": size.athletes,
        "each": size.activities_each,
        "events": size.events,
        "live_calls": size.live_calls,
        "years": YEARS,
        "one_in": IMPORTING_ONE_IN,
        "points": POINTS,
        "seed": seed,
    }
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        # Indexes are built afterwards, which takes a fraction of the time.
        indexes = connection.execute(text(_SECONDARY)).all()
        for index in indexes:
            connection.execute(text(f"DROP INDEX {index.name}"))
        for statement in (_GIVEN, *statements):
            _execute(connection, statement, given)
        for index in indexes:
            connection.execute(text(index.definition.replace(":", r"\:")))
        connection.execute(text("DROP TABLE given"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


def _execute(connection: Connection, statement: str, given: dict[str, int]) -> None:
    """Execute a statement with those of the numbers that it names, written into it: Postgres plans for them."""
    for name, value in sorted(given.items(), key=lambda item: -len(item[0])):
        statement = statement.replace(f":{name}", str(value))
    connection.exec_driver_sql(statement.replace("%", "%%"))
