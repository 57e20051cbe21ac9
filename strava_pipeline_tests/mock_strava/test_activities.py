from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.athletes import CYCLIST, RUNNER
from strava_pipeline_tests.mock_strava.callers import NOON, Caller, connect

KEYS = "time,distance,latlng,altitude,velocity_smooth,heartrate,cadence,watts,temp,moving,grade_smooth"
NOT_FOUND = {
    "message": "Resource Not Found",
    "errors": [{"resource": "Activity", "field": "", "code": "not found"}],
}


def listed(caller: Caller, query: str = "per_page=200") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = caller.json(f"/athlete/activities?{query}")
    return found


def starts(bodies: list[dict[str, Any]]) -> list[float]:
    return [datetime.fromisoformat(body["start_date"]).timestamp() for body in bodies]


def test_pages_follow_each_other_and_end(cyclist: Caller) -> None:
    whole = listed(cyclist)
    pages = [listed(cyclist, f"per_page=40&page={page}") for page in (1, 2, 3, 4)]
    assert [body for page in pages for body in page] == whole
    assert pages[-1] == []
    assert len(listed(cyclist, "")) == 30


def test_the_newest_come_first(cyclist: Caller) -> None:
    found = starts(listed(cyclist))
    assert found == sorted(found, reverse=True)
    assert starts(listed(cyclist, f"per_page=200&before={int(NOON)}")) == found


def test_with_after_alone_the_oldest_come_first(cyclist: Caller) -> None:
    oldest = min(starts(listed(cyclist)))
    alone = starts(listed(cyclist, f"per_page=200&after={int(oldest) - 1}"))
    assert alone == sorted(alone)
    both = starts(listed(cyclist, f"per_page=200&after={int(oldest) - 1}&before={int(NOON)}"))
    assert both == alone[::-1]


def test_both_ends_are_left_out(cyclist: Caller) -> None:
    third, second, first = (int(start) for start in starts(listed(cyclist))[:3])
    assert starts(listed(cyclist, f"after={first}&before={third}")) == [second]
    assert starts(listed(cyclist, f"after={first - 1}&before={third + 1}")) == [third, second, first]


def test_after_in_the_future_is_refused(cyclist: Caller) -> None:
    answer = cyclist.get(f"/athlete/activities?after={int(NOON) + 1}")
    assert answer.status_code == 400
    assert answer.json == {
        "message": "Bad Request",
        "errors": [{"resource": "Application", "field": "after", "code": "future"}],
    }


@pytest.mark.parametrize("query", ["per_page=201", "per_page=0", "page=x", "after=soon"])
def test_a_wrong_query_is_refused(cyclist: Caller, query: str) -> None:
    assert cyclist.get(f"/athlete/activities?{query}").status_code == 400


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic Og=="}, {"Authorization": "Bearer"}]
)
def test_only_a_valid_bearer_header_opens(client: FlaskClient, cyclist: Caller, headers: dict[str, str]) -> None:
    query = {"access_token": cyclist.tokens["access_token"]}
    answer = client.get("/api/v3/athlete/activities", query_string=query, headers=headers)
    assert answer.status_code == 401
    assert answer.json == {
        "message": "Authorization Error",
        "errors": [{"resource": "Athlete", "field": "access_token", "code": "invalid"}],
    }


def test_without_a_scope_for_activities_none_are_shown(client: FlaskClient) -> None:
    caller = connect(client, CYCLIST.athlete_id, "read")
    answer = caller.get("/athlete/activities")
    assert answer.status_code == 401
    assert answer.json == {
        "message": "Authorization Error",
        "errors": [{"resource": "AccessToken", "field": "activity:read_permission", "code": "missing"}],
    }


def test_private_activities_need_their_scope(client: FlaskClient) -> None:
    every = listed(connect(client, CYCLIST.athlete_id))
    private = next(body["id"] for body in every if body["private"])
    caller = connect(client, CYCLIST.athlete_id, "read,activity:read")
    assert listed(caller) == [body for body in every if not body["private"]]
    for path in ("", "/streams", "/laps", "/zones"):
        answer = caller.get(f"/activities/{private}{path}")
        assert (answer.status_code, answer.json) == (404, NOT_FOUND)


def test_a_foreign_or_unknown_activity_is_not_found(client: FlaskClient, cyclist: Caller) -> None:
    foreign = listed(connect(client, RUNNER.athlete_id))[0]["id"]
    for number in (foreign, 5):
        answer = cyclist.get(f"/activities/{number}")
        assert (answer.status_code, answer.json) == (404, NOT_FOUND)


def test_the_detail_agrees_with_the_summary(cyclist: Caller) -> None:
    for summary in listed(cyclist)[:8]:
        detail = cyclist.json(f"/activities/{summary['id']}")
        assert detail["resource_state"] == 3
        same = summary.keys() - {"resource_state", "map"}
        assert {key: detail[key] for key in same} == {key: summary[key] for key in same}
        assert detail["map"]["summary_polyline"] == summary["map"]["summary_polyline"]
        assert {"description", "calories", "laps", "splits_metric", "photos"}.isdisjoint(summary)
        assert {"description", "calories", "laps", "splits_metric", "photos"} <= detail.keys()


def test_hidden_efforts_come_only_when_asked_for(cyclist: Caller) -> None:
    ride = next(body["id"] for body in listed(cyclist) if body["map"]["summary_polyline"])
    some = cyclist.json(f"/activities/{ride}")["segment_efforts"]
    every = cyclist.json(f"/activities/{ride}?include_all_efforts=true")["segment_efforts"]
    assert some == [effort for effort in every if not effort["hidden"]]
    assert len(some) < len(every)


def test_streams_come_as_object_or_list(cyclist: Caller) -> None:
    ride = next(body["id"] for body in listed(cyclist) if body["sport_type"] == "Ride" and body["start_latlng"])
    keyed = cyclist.json(f"/activities/{ride}/streams?keys={KEYS}&key_by_type=true")
    assert set(keyed) <= set(KEYS.split(","))
    assert {stream["original_size"] for stream in keyed.values()} == {len(keyed["time"]["data"])}
    as_list = cyclist.json(f"/activities/{ride}/streams?keys={KEYS}")
    assert {entry.pop("type"): entry for entry in as_list} == keyed
    assert [entry["type"] for entry in cyclist.json(f"/activities/{ride}/streams")] == ["distance"]


def test_no_streams_is_404_without_errors(cyclist: Caller) -> None:
    manual = next(body["id"] for body in listed(cyclist) if body["manual"])
    answer = cyclist.get(f"/activities/{manual}/streams?keys={KEYS}&key_by_type=true")
    assert answer.status_code == 404
    assert answer.json == {"message": "Resource Not Found", "errors": []}


def test_laps_and_zones_of_an_activity(cyclist: Caller) -> None:
    ride = next(body for body in listed(cyclist) if body["sport_type"] == "Ride" and body["has_heartrate"])
    assert cyclist.json(f"/activities/{ride['id']}/laps") == cyclist.json(f"/activities/{ride['id']}")["laps"]
    zones = cyclist.json(f"/activities/{ride['id']}/zones")
    assert [zone["type"] for zone in zones] == ["heartrate", "power"]
    for zone in zones:
        assert sum(bucket["time"] for bucket in zone["distribution_buckets"]) == ride["elapsed_time"]


def test_an_unknown_path_is_404_in_json(cyclist: Caller) -> None:
    for path in ("/athlete/profile", "/activities/1/export_gpx"):
        answer = cyclist.get(path)
        assert answer.status_code == 404
        assert answer.json is not None
