from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline_tests.mock_strava.callers import NOON, Caller, Clock, connect, refresh


def script(client: FlaskClient, *faults: dict[str, Any]) -> None:
    answer = client.post("/mock/faults", json=list(faults))
    assert answer.status_code == 201, answer.text


def statuses(caller: Caller, count: int, path: str = "/athlete") -> list[int]:
    return [caller.get(path).status_code for _ in range(count)]


def use(client: FlaskClient) -> list[tuple[int, int, int | None]]:
    """Seen, used and left of each script."""
    return [(entry["seen"], entry["used"], entry["left"]) for entry in client.get("/mock/faults").json or []]


def test_a_fault_comes_as_often_as_it_is_told_and_no_more(client: FlaskClient, cyclist: Caller) -> None:
    script(client, {"fault": "status", "status": 503, "times": 2, "after": 1})
    assert use(client) == [(0, 0, 2)]
    assert statuses(cyclist, 5) == [200, 503, 503, 200, 200]
    assert use(client) == [(5, 2, 0)]


def test_a_fault_without_a_number_comes_until_it_is_cleared(client: FlaskClient, cyclist: Caller) -> None:
    script(client, {"fault": "status", "status": 500, "times": None})
    assert statuses(cyclist, 3) == [500, 500, 500]
    assert use(client) == [(3, 3, None)]
    assert client.delete("/mock/faults").json == []
    assert statuses(cyclist, 1) == [200]


def test_only_calls_that_match_are_taken(client: FlaskClient, cyclist: Caller) -> None:
    script(client, {"path": "/api/v3/athletes/*", "method": "GET", "fault": "status", "status": 502})
    script(client, {"path": "*", "method": "POST", "fault": "status", "status": 504})
    assert statuses(cyclist, 2) == [200, 200]
    assert statuses(cyclist, 2, f"/athletes/{CYCLIST.athlete_id}/stats") == [502, 200]
    assert refresh(client, cyclist.tokens["refresh_token"]).status_code == 504


def test_the_first_script_takes_a_call_until_it_is_spent(client: FlaskClient, cyclist: Caller) -> None:
    script(client, {"fault": "status", "status": 500}, {"fault": "status", "status": 502})
    assert statuses(cyclist, 3) == [500, 502, 200]


def test_chance_repeats_itself_by_its_seed(client: FlaskClient, cyclist: Caller) -> None:
    def drawn(seed: int) -> list[int]:
        client.delete("/mock/faults")
        script(client, {"fault": "status", "status": 500, "times": None, "probability": 0.5, "seed": seed})
        return statuses(cyclist, 30)

    first = drawn(3)
    assert {200, 500} == set(first)
    assert drawn(3) == first
    assert drawn(4) != first


@pytest.mark.parametrize(("counted", "usage"), [(True, "2,2"), (False, "1,1")])
def test_a_fault_comes_after_or_before_the_call_is_counted(
    client: FlaskClient, cyclist: Caller, counted: bool, usage: str
) -> None:
    script(client, {"fault": "status", "status": 503, "counted": counted})
    assert ("X-RateLimit-Usage" in cyclist.get("/athlete").headers) is counted
    assert cyclist.get("/athlete").headers["X-RateLimit-Usage"] == usage


def test_the_control_endpoint_itself_never_fails(client: FlaskClient) -> None:
    script(client, {"fault": "status", "status": 503, "times": None})
    assert client.get("/mock/calls").status_code == 200


def test_a_call_over_the_limit_gets_its_429_and_uses_up_no_fault(client: FlaskClient, cyclist: Caller) -> None:
    script(client, {"fault": "status", "status": 503, "after": 100})
    assert statuses(cyclist, 101) == [200] * 100 + [429]
    assert use(client) == [(100, 0, 1)]


def test_calls_tell_what_went_wrong_in_them(client: FlaskClient, cyclist: Caller) -> None:
    script(client, {"fault": "delay", "delay_s": 0.001, "counted": False}, {"fault": "html"}, {"fault": "hang"})
    statuses(cyclist, 3)
    calls: Any = client.get("/mock/calls").json
    told = [(call["status"], call["fault"]) for call in calls["calls"][1:]]
    assert told == [(200, "delay, html"), (None, "hang"), (200, None)]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({}, "fault"),
        ({"fault": "gremlins"}, "fault"),
        ({"fault": "status"}, "status"),
        ({"fault": "status", "status": 99}, "status"),
        ({"fault": "delay"}, "delay"),
        ({"fault": "headers"}, "headers"),
        ({"fault": "cut", "status": 500}, "cut"),
        ({"fault": "html", "times": 0}, "times"),
        ({"fault": "html", "probability": 2}, "probability"),
        ({"fault": "html", "colour": "red"}, "colour"),
        ("html", "dictionary"),
    ],
)
def test_unusable_faults_are_refused_whole(client: FlaskClient, fault: object, told: str) -> None:
    answer = client.post("/mock/faults", json=[{"fault": "html"}, fault])
    assert answer.status_code == 400
    assert told in answer.text
    assert client.get("/mock/faults").json == []


def test_the_clock_can_be_set_wrong(client: FlaskClient, cyclist: Caller, clock: Clock) -> None:
    cyclist.get("/athlete")
    assert client.put("/mock/clock", json={"offset_s": 61.5}).json == {"offset_s": 61.5}
    answer = cyclist.get("/athlete")
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == int(NOON + 61.5)
    assert answer.headers["X-RateLimit-Usage"] == "1,2", "its windows go by its own clock"
    client.put("/mock/clock", json={"offset_s": 21_601})
    assert cyclist.get("/athlete").status_code == 401, "and so do its tokens"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/mock/clock", {"offset_s": "1"}),
        ("/mock/clock", {"offset_s": True}),
        ("/mock/clock", {}),
        ("/mock/clock", [1]),
        ("/mock/tokens", {"mode": "shuffle"}),
        ("/mock/tokens", {"mode": 1}),
        ("/mock/tokens", {"mode": "same", "more": 1}),
    ],
)
def test_unusable_settings_are_refused(client: FlaskClient, path: str, body: object) -> None:
    assert client.put(path, json=body).status_code == 400


def expired(client: FlaskClient, clock: Clock, mode: str) -> dict[str, Any]:
    """The tokens of an athlete whose access token has ended."""
    assert client.put("/mock/tokens", json={"mode": mode}).json == {"mode": mode}
    tokens = connect(client, CYCLIST.athlete_id).tokens
    clock.now += 21_600
    return tokens


def test_a_refresh_token_stays_where_it_does_not_rotate(client: FlaskClient, clock: Clock) -> None:
    old = expired(client, clock, "same")
    for _ in range(2):
        fresh: Any = refresh(client, old["refresh_token"]).json
        assert fresh["refresh_token"] == old["refresh_token"]
        assert fresh["access_token"] != old["access_token"]
        assert Caller(client, fresh).get("/athlete").status_code == 200


def test_a_refresh_token_used_twice_is_refused_where_it_rotates(client: FlaskClient, clock: Clock) -> None:
    old = expired(client, clock, "rotate")
    fresh: Any = refresh(client, old["refresh_token"]).json
    assert fresh["refresh_token"] != old["refresh_token"]
    assert refresh(client, old["refresh_token"]).status_code == 400
    assert Caller(client, fresh).get("/athlete").status_code == 200
    assert refresh(client, fresh["refresh_token"]).status_code == 200


def test_a_refresh_token_used_twice_ends_the_grant_where_reuse_revokes(client: FlaskClient, clock: Clock) -> None:
    old = expired(client, clock, "revoke_on_reuse")
    fresh: Any = refresh(client, old["refresh_token"]).json
    assert refresh(client, "never-issued").status_code == 400
    assert Caller(client, fresh).get("/athlete").status_code == 200
    assert refresh(client, old["refresh_token"]).status_code == 400
    assert Caller(client, fresh).get("/athlete").status_code == 401
    assert refresh(client, fresh["refresh_token"]).status_code == 400
