"""The queries of docs/queries.md: each answers on a mock athlete's data, and finds its rows by an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, text

from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.athletes import RUNNER
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.strava.mapping.activity import detail_rows, digest
from strava_pipeline.strava.mapping.athlete import athlete_row, gear_rows, stats_rows, zone_rows
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.warehouse.activities.activity_store import Payload, store_detail
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.athletes.profiles import store_athlete, store_gear, store_stats, store_zones
from strava_pipeline_tests.mock_strava.callers import APP, Caller, Clock, connect, mock_of

PAGE = Path(__file__).parents[3] / "docs" / "queries.md"
FIRST_PART = PAGE.read_text(encoding="utf-8").split("## Connecting")[0]
WEEKS, RIDES, RECORDS, GEAR, ZONES = re.findall(r"```sql\n(.*?)```", FIRST_PART, re.DOTALL)
ASKED = datetime(2026, 11, 1, tzinfo=UTC)
STORED = 12
# As many as a group of athletes has after some years, so that reading all of them is worth avoiding.
FILL = """
INSERT INTO strava.activities
    (id, athlete_id, resource_state, name, type, sport_type, start_date, start_date_local, distance, gear_id,
     fetched_at)
SELECT n, mod(n, 200), 2, 'x', 'Ride', 'Ride', at, at, 1000, 'b' || mod(n, 200), now()
FROM generate_series(1, 20000) AS n, LATERAL (SELECT '2026-01-01'::timestamp + n * interval '15 min') AS t(at);
INSERT INTO strava.best_efforts (activity_id, id, athlete_id, name, elapsed_time)
SELECT n, n, mod(n, 200), '5K', n FROM generate_series(1, 20000) AS n;
INSERT INTO strava.gear (id, athlete_id, fetched_at) SELECT 'b' || n, n, now() FROM generate_series(0, 199) AS n;
INSERT INTO strava.athlete_zones (athlete_id, kind, valid_from, zone, min, fetched_at)
SELECT mod(n, 2000), 'heart_rate', '2026-01-01', n / 2000, 1, now() FROM generate_series(0, 9999) AS n;
INSERT INTO strava.activity_streams (activity_id, athlete_id, point_count, time, heartrate, fetched_at)
SELECT n, mod(n, 200), 1, '{0}', '{99}', now() FROM generate_series(1, 5000) AS n;
ANALYZE strava.activities, strava.best_efforts, strava.gear, strava.athlete_zones, strava.activity_streams
"""


@pytest.fixture
def runner() -> Iterator[Caller]:
    client = create_mock(MockConfig(**{**APP, "delivery_gap_s": 0.0}), Clock()).test_client()  # type: ignore[arg-type]  # the values fit
    yield connect(client, RUNNER.athlete_id)
    mock_of(client).deliveries.stop()


@pytest.fixture
def newest(engine: Engine, runner: Caller) -> int:
    """The mock's runner is stored, with the newest activities; the id of the newest one with a heart rate."""
    owner = RUNNER.athlete_id
    listed = runner.json(f"/athlete/activities?per_page={STORED}")
    athlete = runner.json("/athlete")
    with engine.begin() as connection:
        store_athlete(connection, athlete_row(athlete), ASKED)
        store_gear(connection, gear_rows(owner, athlete), ASKED)
        store_stats(connection, stats_rows(owner, runner.json(f"/athletes/{owner}/stats")), ASKED)
        store_zones(connection, owner, zone_rows(owner, runner.json("/athlete/zones")), ASKED)
        for summary in listed:
            body = runner.json(f"/activities/{summary['id']}")
            payload = Payload(body["id"], owner, body, digest(body))
            store_detail(connection, detail_rows(owner, body), payload, ASKED)
    number: int = next(summary["id"] for summary in listed if summary["has_heartrate"])
    keys = "time,distance,heartrate"
    with engine.begin() as connection:
        streams = runner.json(f"/activities/{number}/streams?keys={keys}&key_by_type=true")
        store_streams(connection, map_streams(owner, number, streams), ASKED)
    return number


def rows(connection: Connection, query: str, **values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(query), values).mappings()]


def test_each_answers_an_analyst_about_a_mock_athlete(analyst_engine: Engine, newest: int) -> None:
    with analyst_engine.begin() as connection:
        weeks = rows(connection, WEEKS, athlete=RUNNER.athlete_id)
        assert sum(week["activity_count"] for week in weeks) == STORED
        assert all(re.fullmatch(r"2026-W\d\d", week["iso_week"]) for week in weeks)
        records = rows(connection, RECORDS, athlete=RUNNER.athlete_id)
        assert {"400m", "1K"} <= {record["name"] for record in records}
        assert [record["time"] for record in records] == sorted(record["time"] for record in records)
        gear = rows(connection, GEAR, athlete=RUNNER.athlete_id)
        assert {item["kind"] for item in gear} <= {"bike", "shoes"}
        assert gear[0]["activity_count"] > 0
        zones = rows(connection, ZONES, activity=newest)
        assert [zone["zone"] for zone in zones] == [1, 2, 3, 4, 5]
        assert sum(zone["seconds"] for zone in zones) > 600
        assert rows(connection, RIDES, athlete=RUNNER.athlete_id) == []


def test_rides_of_a_month_are_those_of_that_month(owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(FILL)
        found = rows(connection, RIDES, athlete=7)
    assert found
    assert {row["start_date_local"].month for row in found} == {5}


def test_pandas_keeps_ids_whole_and_empty_cells_empty(engine: Engine, newest: int) -> None:
    frame = pd.read_sql_query("SELECT id, average_heartrate FROM strava.runs", engine, dtype_backend="numpy_nullable")
    assert str(frame.dtypes["id"]) == "Int64"
    assert newest in set(frame["id"])


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (WEEKS, "ix_activities_athlete_id_start_date"),
        (RIDES, "ix_activities_athlete_id_start_date"),
        (RECORDS, "ix_best_efforts_athlete_id_name_elapsed_time"),
        (GEAR, "ix_activities_athlete_id_start_date"),
        (ZONES, "pk_activity_streams"),
        (ZONES, "pk_athlete_zones"),
    ],
    ids=["weeks", "rides", "records", "gear", "points", "zones"],
)
def test_each_finds_its_rows_by_an_index(owner_engine: Engine, query: str, index: str) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(FILL)
        plan = connection.execute(text(f"EXPLAIN {query}"), {"athlete": 7, "activity": 7}).scalars().all()
    assert any(index in line for line in plan), "\n".join(plan)
    large = re.compile(r"Seq Scan on (activities|best_efforts|activity_streams|athlete_zones)")
    assert not any(large.search(line) for line in plan), "\n".join(plan)
