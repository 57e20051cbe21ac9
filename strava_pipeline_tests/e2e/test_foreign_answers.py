"""Answers that are not Strava's, in a backfill of real processes: those that pass cost nothing but time.

Those that stay are told at the end, and the next backfill brings what is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

ATHLETE = CYCLIST.athlete_id
API = "/api/v3"
FAULT = {"message": "Forbidden", "errors": []}
DETAILS, STREAMS = "/activities/*[0-9]", "/activities/*/streams"
Script = dict[str, Any]


def script(mock: Mock, *scripts: Script) -> None:
    """These faults from now on, and no others."""
    requests.delete(f"{mock.url}/mock/faults", timeout=PATIENCE_SECONDS).raise_for_status()
    requests.post(f"{mock.url}/mock/faults", json=list(scripts), timeout=PATIENCE_SECONDS).raise_for_status()


def page(path: str, status: int, **more: Any) -> Script:
    return {"path": f"{API}{path}", "fault": "html", "status": status} | more


def told(path: str, status: int, body: object, **more: Any) -> Script:
    return {"path": f"{API}{path}", "fault": "status", "status": status, "body": body} | more


def asked(mock: Mock) -> Counter[str]:
    """How often each path of an activity was asked for."""
    calls = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["calls"]
    return Counter(call["path"] for call in calls if "/activities/" in call["path"])


def recorded(installation: Installation) -> list[int]:
    """The stored activities that were not entered by hand, newest first."""
    rows = installation.output(
        "sql", "SELECT id FROM strava.activities WHERE manual IS NOT true ORDER BY start_date DESC", "--format", "json"
    )
    return [row["id"] for row in json.loads(rows)]


def test_a_backfill_outlasts_what_is_not_stravas_and_tells_what_is_missing(
    installation: Installation, start_mock: Callable[..., Mock]
) -> None:
    mock = start_mock("--months", "1")
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    today = datetime.now(UTC)
    months = ("--from", f"{today - timedelta(days=90):%Y-%m}", "--to", f"{today:%Y-%m}")
    backfill = ("backfill", "--athlete", str(ATHLETE), *months)

    # Each once, and in every place.
    script(
        mock,
        page("/athlete", 401),
        told(f"/athletes/{ATHLETE}/stats", 408, FAULT),
        told("/athlete/zones", 200, FAULT),
        told("/gear/*", 403, {"message": "Forbidden"}),
        {"path": f"{API}/athlete/activities", "fault": "redirect"},
        page(STREAMS, 404),
        told(STREAMS, 200, FAULT, after=3),
        page(DETAILS, 404),
        told(DETAILS, 597, "", after=3),
        page(DETAILS, 403, after=5),
        told(DETAILS, 200, FAULT, after=7),
    )
    said = installation.output(*backfill)
    assert [line.split()[2] for line in said.splitlines()] == ["success"] * len(said.splitlines())
    assert not {path: times for path, times in asked(mock).items() if times > 2}

    # For ever, for some activities: these are neither gone nor done.
    newest, second, third, *_ = recorded(installation)
    for number in (newest, second, third):
        change = {"name": "Renamed", "silent": True}
        requests.put(f"{mock.url}/mock/activities/{number}", json=change, timeout=PATIENCE_SECONDS).raise_for_status()
    script(
        mock,
        page(f"/activities/{newest}", 404, times=None),
        told(f"/activities/{third}", 200, FAULT, times=None),
    )
    ended = installation.call(*backfill)
    assert ended.returncode == 1
    assert "  incomplete  activity_details" in ended.stdout
    assert f"activities of athlete {ATHLETE} are not complete: 2 not answered (GET /activities/" in ended.stderr
    for reason in ("the answer is not Strava's (404, text/html)", "Strava answered 200 Forbidden", "the same command"):
        assert reason in ended.stderr
    assert "Traceback" not in ended.stderr

    script(mock)
    before = asked(mock)
    said = installation.output(*backfill)
    assert "incomplete" not in said
    # Samples are kept, and the one that was answered is not asked for again.
    assert asked(mock) - before == Counter(f"{API}/activities/{number}" for number in (newest, third))
