"""From recorded answers, through the real command and real processes, to the tables: nothing lost, nothing bent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

FIRST, LAST = "2023-11", "2025-10"


def query(installation: Installation, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(installation.output("sql", sql, "--format", "json"))
    return rows


def test_backfill_of_recorded_answers_is_complete_and_exact(
    embedded: Installation, start_mock: Callable[..., Mock], tmp_path: Path
) -> None:
    recorded = recordings.write(tmp_path / "runner")
    mock = start_mock("--recordings", str(tmp_path / "runner"))
    connected = json.loads(embedded.output("connect", "--code", mock.new_code(recordings.ATHLETE_ID)))
    assert connected == {"athlete_id": recordings.ATHLETE_ID}

    span = ("--athlete", str(recordings.ATHLETE_ID), "--from", FIRST, "--to", LAST)
    embedded.output("backfill", *span)

    (sums,) = query(
        embedded,
        "SELECT count(*), sum(distance) AS distance, sum(moving_time) AS moving_time,"
        " sum(elapsed_time) AS elapsed_time, sum(total_elevation_gain) AS gain FROM strava.activities",
    )
    assert sums["count"] == len(recorded.activities)
    assert sums["distance"] == pytest.approx(recorded.total("distance"))
    assert sums["moving_time"] == recorded.total("moving_time")
    assert sums["elapsed_time"] == recorded.total("elapsed_time")
    assert sums["gain"] == pytest.approx(recorded.total("total_elevation_gain"))

    months = query(
        embedded, "SELECT to_char(start_date, 'YYYY-MM') AS month, count(*) FROM strava.activities GROUP BY 1"
    )
    assert {row["month"]: row["count"] for row in months} == dict(recorded.by_month)
    names = query(embedded, "SELECT id, name FROM strava.activities")
    assert {row["id"]: row["name"] for row in names} == recorded.names
    times = query(
        embedded,
        "SELECT id, to_char(start_date, 'YYYY-MM-DD\"T\"HH24:MI:SSZ') AS utc,"
        " to_char(start_date_local, 'YYYY-MM-DD\"T\"HH24:MI:SSZ') AS local FROM strava.activities",
    )
    assert {row["id"]: (row["utc"], row["local"]) for row in times} == {
        body["id"]: (body["start_date"], body["start_date_local"]) for body in recorded.activities
    }

    (children,) = query(
        embedded,
        "SELECT (SELECT count(*) FROM strava.laps) AS laps,"
        " (SELECT count(*) FROM strava.splits WHERE unit = 'metric') AS metric,"
        " (SELECT count(*) FROM strava.splits WHERE unit = 'standard') AS standard,"
        " (SELECT count(*) FROM strava.best_efforts) AS best,"
        " (SELECT max(id) FROM strava.segment_efforts) AS effort,"
        " (SELECT count(*) FROM strava.gear) AS gear,"
        " (SELECT count(*) FROM strava.activity_streams) AS streams,"
        " (SELECT count(*) FROM strava.activity_points) AS points,"
        " (SELECT count(*) FROM strava.route_analyses) AS analyses",
    )
    assert children == {
        "laps": 1,
        "metric": 3,
        "standard": 2,
        "best": 1,
        "effort": 9_223_372_036_854_775_001,
        "gear": 2,
        "streams": len(recorded.activities),
        "points": 5,
        "analyses": 2,
    }

    requests_sent = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["totals"]
    assert requests_sent["too_many_requests"] == 0
    assert requests_sent["calls"] <= 2 * len(recorded.activities) + 1 + 7

    embedded.output("backfill", *span)
    again = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["totals"]
    assert again["calls"] - requests_sent["calls"] == 4, (
        "what is current costs a listing, the profile, totals and zones"
    )
