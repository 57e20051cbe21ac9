from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline_tests.mock_strava.callers import NOON, Caller, code_for, exchange


def events(client: FlaskClient) -> list[dict[str, Any]]:
    return [delivery["event"] for delivery in client.get("/mock/deliveries").json or []]


def add(client: FlaskClient, **fields: Any) -> int:
    answer = client.post("/mock/activities", json={"athlete_id": CYCLIST.athlete_id, **fields})
    assert answer.status_code == 201
    number: int = (answer.json or {})["id"]
    return number


def test_an_added_activity_is_listed_first_and_told(client: FlaskClient, cyclist: Caller) -> None:
    number = add(client, name="New", sport_type="Run")
    newest = cyclist.json("/athlete/activities")[0]
    assert (newest["id"], newest["name"], newest["sport_type"]) == (number, "New", "Run")
    assert cyclist.get(f"/activities/{number}/streams?keys=time&key_by_type=true").status_code == 200
    assert events(client) == [
        {
            "aspect_type": "create",
            "event_time": int(NOON),
            "object_id": number,
            "object_type": "activity",
            "owner_id": CYCLIST.athlete_id,
            "subscription_id": 1,
            "updates": {},
        }
    ]


def test_two_added_at_once_are_two(client: FlaskClient) -> None:
    assert add(client) != add(client)


def test_a_change_shows_and_is_told_as_text(client: FlaskClient, cyclist: Caller) -> None:
    number = cyclist.json("/athlete/activities")[0]["id"]
    changes = {"name": "Renamed", "private": True, "description": "new"}
    client.put(f"/mock/activities/{number}", json=changes)
    detail = cyclist.json(f"/activities/{number}")
    assert (detail["name"], detail["private"], detail["visibility"]) == ("Renamed", True, "only_me")
    assert detail["description"] == "new"
    assert "description" not in cyclist.json("/athlete/activities")[0]
    assert [(e["aspect_type"], e["updates"]) for e in events(client)] == [
        ("update", {"title": "Renamed", "private": "true"})
    ]


def test_a_changed_sport_changes_the_type(client: FlaskClient, cyclist: Caller) -> None:
    number = cyclist.json("/athlete/activities")[0]["id"]
    client.put(f"/mock/activities/{number}", json={"sport_type": "TrailRun"})
    shown = cyclist.json("/athlete/activities")[0]
    assert (shown["type"], shown["sport_type"]) == ("Run", "TrailRun")
    assert [event["updates"] for event in events(client)] == [{"type": "TrailRun"}]


def test_what_strava_does_not_tell_is_not_told(client: FlaskClient, cyclist: Caller) -> None:
    number = cyclist.json("/athlete/activities")[0]["id"]
    client.put(f"/mock/activities/{number}", json={"distance": 1.5})
    client.put(f"/mock/activities/{number}", json={"name": "hushed", "silent": True})
    assert events(client) == []
    shown = cyclist.json("/athlete/activities")[0]
    assert (shown["distance"], shown["name"]) == (1.5, "hushed")
    assert "silent" not in shown


def test_a_moved_start_moves_the_local_time_and_the_order(client: FlaskClient, cyclist: Caller) -> None:
    first, second = cyclist.json("/athlete/activities")[:2]
    client.put(f"/mock/activities/{first['id']}", json={"start_date": "2026-06-01T10:00:00Z"})
    moved = cyclist.json(f"/activities/{first['id']}")
    assert moved["start_date_local"] == "2026-06-01T12:00:00Z"
    assert cyclist.json("/athlete/activities")[0]["id"] == second["id"]


def test_a_deleted_activity_is_gone_and_told(client: FlaskClient, cyclist: Caller) -> None:
    number = cyclist.json("/athlete/activities")[0]["id"]
    assert client.delete(f"/mock/activities/{number}").status_code == 200
    assert cyclist.get(f"/activities/{number}").status_code == 404
    assert number not in [body["id"] for body in cyclist.json("/athlete/activities")]
    assert [event["aspect_type"] for event in events(client)] == ["delete"]
    assert client.delete(f"/mock/activities/{number}").status_code == 404


def test_a_deauthorized_athlete_answers_401(client: FlaskClient, cyclist: Caller) -> None:
    client.post("/mock/deauthorize", json={"athlete_id": CYCLIST.athlete_id})
    assert cyclist.get("/athlete").status_code == 401
    assert [event["updates"] for event in events(client)] == [{"authorized": "false"}]


def test_tokens_can_be_ended(client: FlaskClient, cyclist: Caller) -> None:
    assert client.post("/mock/tokens/expire").status_code == 200
    assert cyclist.get("/athlete").status_code == 401


def test_calls_are_kept_as_they_were_seen(client: FlaskClient, cyclist: Caller) -> None:
    number = cyclist.json("/athlete/activities?per_page=1")[0]["id"]
    cyclist.get(f"/activities/{number}?include_all_efforts=true")
    cyclist.get("/nope")
    seen: Any = client.get("/mock/calls").json
    assert seen["totals"] == {
        "calls": 3,
        "endpoints": {
            "POST /oauth/token": 1,
            "GET /api/v3/athlete/activities": 1,
            "GET /api/v3/activities/{id}": 1,
            "GET /api/v3/nope": 1,
        },
        "too_many_requests": 0,
        "token_calls": 1,
    }
    assert seen["calls"][2] == {
        "moment": NOON,
        "method": "GET",
        "host": "localhost",
        "path": f"/api/v3/activities/{number}",
        "status": 200,
        "athlete_id": CYCLIST.athlete_id,
        "counted": True,
        "over_limit": False,
        "fault": None,
    }


def test_no_secret_stands_in_the_calls(client: FlaskClient) -> None:
    exchange(client, code_for(client, CYCLIST.athlete_id))
    client.get("/api/v3/push_subscriptions?client_id=7&client_secret=app-secret")
    assert "app-secret" not in client.get("/mock/calls").text


def test_athletes_come_with_a_code_that_works(client: FlaskClient) -> None:
    for athlete in client.get("/mock/athletes").json or []:
        assert set(athlete) == {"id", "name", "activities", "code"}
        assert athlete["activities"] > 70
        answer: Any = exchange(client, athlete["code"]).json
        assert answer["athlete"]["id"] == athlete["id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[]", 400),
        ("{", 400),
        ('{"athlete_id": 5}', 404),
        ('{"athlete_id": "5"}', 404),
        ('{"start_date": "soon"}', 400),
        ('{"start_date": "2026-01-01T00:00:00"}', 400),
    ],
)
def test_unusable_control_calls_are_refused(client: FlaskClient, body: str, status: int) -> None:
    assert client.post("/mock/activities", data=body).status_code == status
