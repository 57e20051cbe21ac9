"""The analysts' views: by sport, by local week and month, by gear, and the records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from strava_pipeline.strava.mapping.activity import detail_rows, digest
from strava_pipeline.warehouse.activities.activity_store import Payload, store_detail
from strava_pipeline.warehouse.athletes.profiles import store_gear
from strava_pipeline_tests.strava_stand_in import RIDER, activity_body

ASKED = datetime(2026, 9, 1, tzinfo=UTC)


def store(connection: Connection, number: int, start: datetime, **more: Any) -> None:
    body = activity_body(number, start, **more)
    store_detail(connection, detail_rows(RIDER, body), Payload(number, RIDER, body, digest(body)), ASKED)


@pytest.fixture
def connection(engine: Engine) -> Any:
    with engine.begin() as connection:
        yield connection


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


def test_each_sport_has_its_view_with_its_own_figure(connection: Connection) -> None:
    at = datetime(2026, 5, 5, 12, tzinfo=UTC)
    store(connection, 1, at, sport_type="GravelRide", average_speed=10)
    store(connection, 2, at, sport_type="TrailRun", type="Run", average_speed=4)
    store(connection, 3, at, sport_type="Swim", type="Swim", average_speed=0)
    store(connection, 4, at, sport_type="Yoga", type="Workout")
    assert rows(connection, "SELECT id, average_speed_kmh FROM strava.rides") == [(1, 36)]
    assert rows(connection, "SELECT id, pace_s_per_km FROM strava.runs") == [(2, 250)]
    assert rows(connection, "SELECT id, pace_s_per_100m FROM strava.swims") == [(3, None)]


def test_a_hidden_start_time_is_marked(connection: Connection) -> None:
    hidden = {"start_date_local": "2026-05-05T00:00:01Z"}
    store(connection, 1, datetime(2026, 5, 4, 22, 0, 1, tzinfo=UTC), **hidden)
    store(connection, 2, datetime(2026, 5, 5, 12, tzinfo=UTC))
    assert rows(connection, "SELECT id, start_time_hidden FROM strava.rides ORDER BY 1") == [(1, True), (2, False)]


def test_a_week_is_the_iso_week_of_the_local_start(connection: Connection) -> None:
    # Sunday evening in Vienna is the old week still, though UTC agrees; an hour of Monday in Auckland is the new one.
    store(connection, 1, datetime(2025, 12, 28, 22, 30, tzinfo=UTC), start_date_local="2025-12-28T23:30:00Z")
    store(connection, 2, datetime(2025, 12, 28, 12, tzinfo=UTC), start_date_local="2025-12-29T01:00:00Z", distance=500)
    store(connection, 3, datetime(2026, 1, 1, 9, tzinfo=UTC), start_date_local="2026-01-01T10:00:00Z", distance=None)
    query = "SELECT week_start::text, iso_week, activity_count, distance FROM strava.weekly_totals ORDER BY 1"
    assert rows(connection, query) == [("2025-12-22", "2025-W52", 1, 1000), ("2025-12-29", "2026-W01", 2, 500)]


def test_a_month_is_the_local_one_and_a_sport_is_counted_apart(connection: Connection) -> None:
    store(connection, 1, datetime(2026, 2, 28, 23, 30, tzinfo=UTC), start_date_local="2026-03-01T00:30:00Z")
    store(connection, 2, datetime(2026, 3, 2, 9, tzinfo=UTC), sport_type="Run")
    query = "SELECT month_start::text, sport_type, activity_count, moving_time FROM strava.monthly_totals ORDER BY 2"
    assert rows(connection, query) == [("2026-03-01", "GravelRide", 1, 200), ("2026-03-01", "Run", 1, 200)]


def test_gear_shows_what_was_done_with_it_listed_or_not_used_or_not(connection: Connection) -> None:
    bikes = [{"id": "b1", "athlete_id": RIDER, "name": "Blue", "distance": 99_000.0}, {"id": "b2", "athlete_id": RIDER}]
    for bike in bikes:
        store_gear(connection, [bike], ASKED)
    store(connection, 1, datetime(2026, 5, 5, 12, tzinfo=UTC), gear_id="b1")
    store(connection, 2, datetime(2026, 5, 6, 12, tzinfo=UTC), gear_id="b1")
    store(connection, 3, datetime(2026, 5, 6, 12, tzinfo=UTC), gear_id="g9")
    query = (
        "SELECT gear_id, kind, name, activity_count, distance, distance_at_strava, last_used_local::text"
        " FROM strava.gear_mileage ORDER BY 1"
    )
    assert rows(connection, query) == [
        ("b1", "bike", "Blue", 2, 2000, 99_000, "2026-05-06 12:00:00"),
        ("b2", "bike", None, 0, 0, None, None),
        ("g9", "shoes", None, 1, 1000, None, "2026-05-06 12:00:00"),
    ]


def test_a_record_is_the_fastest_effort_and_of_equal_ones_the_first(connection: Connection) -> None:
    for number, seconds in ((1, 1300), (2, 1200), (3, 1200)):
        effort = {"id": 70 + number, "name": "5K", "distance": 5000, "elapsed_time": seconds}
        effort["start_date"] = f"2026-05-0{number}T12:00:00Z"
        store(connection, number, datetime(2026, 5, number, 12, tzinfo=UTC), best_efforts=[effort])
    query = "SELECT name, elapsed_time, activity_id, effort_id, average_speed_mps FROM strava.personal_records"
    assert rows(connection, query) == [("5K", 1200, 2, 72, pytest.approx(5000 / 1200))]
