from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline_tests.mock_strava.callers import Caller, Clock, refresh
from strava_pipeline_tests.mock_strava.test_fault_control import script
from strava_pipeline_tests.mock_strava.test_limits import RATE_HEADERS


def answer_with(caller: Caller, path: str = "/athlete", **fault: Any) -> TestResponse:
    script(caller.client, fault)
    return caller.get(path)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"message": "Authorization Error", "resource": "Athlete", "code": "invalid"}),
        (403, {"message": "Forbidden"}),
        (404, {"message": "Resource Not Found", "resource": "Activity", "code": "not found"}),
        (500, {"message": "error"}),
    ],
)
def test_a_status_comes_with_stravas_own_body(cyclist: Caller, status: int, body: dict[str, str]) -> None:
    answer = answer_with(cyclist, fault="status", status=status)
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    parsed: Any = answer.json
    told = {"message": parsed["message"]} | {
        key: value for error in parsed.get("errors", []) for key, value in error.items()
    }
    assert told.items() >= body.items()


@pytest.mark.parametrize("status", [502, 503, 504, 597])
def test_a_gateway_answers_with_a_page(cyclist: Caller, status: int) -> None:
    answer = answer_with(cyclist, fault="status", status=status)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_body_can_be_given(cyclist: Caller) -> None:
    assert answer_with(cyclist, fault="status", status=418, body={"message": "short and stout"}).json == {
        "message": "short and stout"
    }
    assert answer_with(cyclist, fault="status", status=400, body="<oops").get_data() == b"<oops"


@pytest.mark.parametrize(
    ("limit", "field", "usage"),
    [
        ("read", "read rate limit", ("1,1", "1,1")),
        ("overall", "overall rate limit", ("1,1", "1,1")),
        ("read_short", "read rate limit", ("1,1", "101,1")),
        ("read_day", "read rate limit", ("1,1", "1,1001")),
        ("overall_short", "overall rate limit", ("201,1", "1,1")),
        ("overall_day", "overall rate limit", ("1,2001", "1,1")),
    ],
)
def test_a_429_names_its_limit_and_may_show_it_in_the_headers(
    cyclist: Caller, limit: str, field: str, usage: tuple[str, str]
) -> None:
    answer = answer_with(cyclist, fault="status", status=429, limit=limit)
    assert answer.json == {
        "message": "Rate Limit Exceeded",
        "errors": [{"resource": "Application", "field": field, "code": "exceeded"}],
    }
    assert (answer.headers["X-RateLimit-Usage"], answer.headers["X-ReadRateLimit-Usage"]) == usage
    assert "Retry-After" not in answer.headers


def test_retry_after_comes_with_a_429_or_another_status(cyclist: Caller) -> None:
    answer = answer_with(cyclist, fault="retry_after", seconds=17)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")
    answer = answer_with(cyclist, fault="retry_after", status=503)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")


def test_the_app_can_be_switched_off(cyclist: Caller) -> None:
    answer = answer_with(cyclist, fault="app_inactive")
    assert answer.status_code == 403
    assert answer.json == {
        "message": "Forbidden",
        "errors": [{"resource": "Application", "field": "Status", "code": "Inactive"}],
    }


def test_a_page_or_nothing_comes_with_a_200(cyclist: Caller) -> None:
    page = answer_with(cyclist, fault="html")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    nothing = answer_with(cyclist, fault="empty")
    assert (nothing.status_code, nothing.get_data()) == (200, b"")
    assert answer_with(cyclist, fault="empty", status=502).status_code == 502


def test_a_redirect_leads_elsewhere(cyclist: Caller) -> None:
    answer = answer_with(cyclist, fault="redirect", location="http://127.0.0.1:1/steal")
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:1/steal")
    assert answer_with(cyclist, fault="redirect", status=308).status_code == 308


def test_a_truncated_answer_is_whole_on_the_wire_and_no_json(cyclist: Caller) -> None:
    whole = cyclist.get("/athlete").get_data()
    answer = answer_with(cyclist, fault="truncated")
    assert answer.get_data() == whole[: len(whole) // 2]
    assert answer.content_length == len(whole) // 2


def test_a_wrong_type_is_a_list_for_an_object_and_an_object_for_a_list(cyclist: Caller) -> None:
    whole = cyclist.json("/athlete")
    assert answer_with(cyclist, fault="wrong_type").json == [whole]
    listed = cyclist.json("/athlete/activities?per_page=2")
    assert answer_with(cyclist, "/athlete/activities?per_page=2", fault="wrong_type").json == {"data": listed}


def test_bad_utf8_is_json_but_for_its_bytes(cyclist: Caller) -> None:
    answer = answer_with(cyclist, fault="bad_utf8")
    with pytest.raises(UnicodeDecodeError):
        answer.get_data().decode()
    assert json.loads(answer.get_data().replace(b"\xff", b"")) == cyclist.json("/athlete")


def test_nan_stands_for_the_first_number(cyclist: Caller) -> None:
    text = answer_with(cyclist, fault="nan").text
    assert text.replace("NaN", str(CYCLIST.athlete_id), 1) == cyclist.get("/athlete").text
    assert "NaN" in text


def test_a_bomb_is_small_and_unpacks_to_its_size(cyclist: Caller) -> None:
    answer = answer_with(cyclist, fault="gzip_bomb", size_bytes=5_000_000)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.get_data()) < 10_000
    unpacked = gzip.decompress(answer.get_data())
    assert (len(unpacked), json.loads(unpacked)) == (5_000_000, [])


@pytest.mark.parametrize("size", [1, 2, 2**20, 2**20 + 1, 3_000_000])
def test_a_huge_body_has_its_size(cyclist: Caller, size: int) -> None:
    answer = answer_with(cyclist, fault="huge", size_bytes=size)
    assert answer.content_length == len(answer.get_data()) == size


def test_rate_headers_can_be_missing_or_garbled(cyclist: Caller) -> None:
    answer = answer_with(cyclist, fault="no_rate_headers")
    assert answer.status_code == 200
    assert not any(name in answer.headers for name in RATE_HEADERS)
    answer = answer_with(cyclist, fault="garbled_rate_headers")
    assert [answer.headers[name] for name in RATE_HEADERS] == ["many", "1,", "-5,x", "99999999999999999999"]


def test_any_header_can_be_set_or_removed(cyclist: Caller) -> None:
    answer = answer_with(
        cyclist, fault="headers", headers={"Date": "yesterday", "X-RateLimit-Limit": None, "Set-Cookie": "a=b"}
    )
    assert (answer.headers["Date"], answer.headers["Set-Cookie"]) == ("yesterday", "a=b")
    assert "X-RateLimit-Limit" not in answer.headers
    assert answer.json == cyclist.json("/athlete")


@pytest.mark.parametrize("counted", [True, False])
def test_an_answer_can_be_late(cyclist: Caller, counted: bool) -> None:
    script(cyclist.client, {"fault": "delay", "delay_s": 0.2, "counted": counted})
    started = time.monotonic()
    answer = cyclist.get("/athlete")
    assert time.monotonic() - started >= 0.2
    assert answer.headers["X-RateLimit-Usage"] == "1,1", "it is counted either way"


def test_a_call_keeps_from_its_work_unless_told_otherwise(client: FlaskClient, cyclist: Caller, clock: Clock) -> None:
    clock.now += 21_600
    token = cyclist.tokens["refresh_token"]
    script(client, {"path": "/oauth/token", "fault": "status", "status": 502})
    assert refresh(client, token).status_code == 502
    script(client, {"path": "/oauth/token", "fault": "status", "status": 502, "acts": True})
    assert refresh(client, token).status_code == 502
    assert refresh(client, token).status_code == 400, "the second 502 hid a rotation"


def test_faults_of_the_wire_need_a_wire(cyclist: Caller) -> None:
    assert answer_with(cyclist, fault="cut").status_code == 501
