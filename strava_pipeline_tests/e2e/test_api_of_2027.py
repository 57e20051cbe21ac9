"""The API that Strava announced for 2027, on a host of its own while OAuth stays where it was; by settings alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS


def test_connect_backfill_and_api_work_against_the_form_of_2027(
    installation: Installation, start_mock: Callable[..., Mock]
) -> None:
    mock = start_mock("--form", "2027", "--months", "3")
    api, oauth = urlsplit(mock.url).netloc, f"localhost:{urlsplit(mock.url).port}"
    installation.environment |= {"STRAVA_API_URL": mock.url, "STRAVA_OAUTH_URL": f"http://{oauth}/oauth"}
    athlete = requests.get(f"{mock.url}/mock/athletes", timeout=PATIENCE_SECONDS).json()[0]
    number = str(athlete["id"])

    assert json.loads(installation.output("connect", "--code", athlete["code"])) == {"athlete_id": athlete["id"]}
    profile = json.loads(installation.output("api", "/athlete", "--athlete", number))
    assert (profile["id"], profile["ftp"]) == (athlete["id"], 262)

    # An ended token takes the way over the other host and back.
    requests.post(f"{mock.url}/mock/tokens/expire", timeout=PATIENCE_SECONDS)
    last = datetime.now(UTC).replace(day=1)
    first = last - timedelta(days=1)
    installation.output("backfill", "--athlete", number, "--from", f"{first:%Y-%m}", "--to", f"{last:%Y-%m}")

    span = {"after": str(int(first.replace(day=1, hour=0, minute=0, second=0).timestamp()) - 1), "per_page": "200"}
    fields = [argument for name, value in span.items() for argument in ("-f", f"{name}={value}")]
    listed = json.loads(installation.output("api", "/athlete/activities", *fields, "--athlete", number))
    query = (
        "SELECT a.id, p.kind IS NOT NULL AS detailed, s.point_count IS NOT NULL AS sampled FROM strava.activities a"
        " LEFT JOIN ops.payloads p ON p.activity_id = a.id AND p.kind = 'detail'"
        " LEFT JOIN strava.activity_streams s ON s.activity_id = a.id"
    )
    stored = json.loads(installation.output("sql", query, "--format", "json"))
    assert len(listed) >= 4
    assert {row["id"] for row in stored} == {body["id"] for body in listed}
    assert all(row["detailed"] and row["sampled"] for row in stored)

    calls: list[dict[str, Any]] = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["calls"]
    assert {call["host"] for call in calls if call["path"].startswith("/oauth/")} == {oauth}
    assert {call["host"] for call in calls if not call["path"].startswith("/oauth/")} == {api}
    assert not [call["path"] for call in calls if call["path"].startswith("/api/v3")]
    assert {call["status"] for call in calls} <= {200, 401, 404}
    assert [call["status"] for call in calls].count(401) == 1, "the ended token, once"


def test_deauthorize_is_gone_and_a_token_in_the_query_is_refused(start_mock: Callable[..., Mock]) -> None:
    mock = start_mock("--form", "2027", "--months", "1")
    assert (
        requests.post(f"{mock.url}/oauth/deauthorize", data={"access_token": "x"}, timeout=PATIENCE_SECONDS).status_code
        == 404
    )
    assert (
        requests.get(f"{mock.url}/athlete", params={"access_token": "x"}, timeout=PATIENCE_SECONDS).status_code == 401
    )
    assert requests.get(f"{mock.url}/api/v3/athlete", timeout=PATIENCE_SECONDS).status_code == 404
