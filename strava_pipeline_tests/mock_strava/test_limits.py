from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline_tests.mock_strava.callers import NOON, Caller, Clock, connect

RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Usage", "X-ReadRateLimit-Limit", "X-ReadRateLimit-Usage")


@pytest.fixture
def narrow(make_client: Callable[..., FlaskClient]) -> Caller:
    """A caller who may call three times in a quarter of an hour, and five times a day."""
    return connect(make_client(short_limit=3, long_limit=5, months=1), CYCLIST.athlete_id)


def statuses(caller: Caller, count: int) -> list[int]:
    return [caller.get("/athlete").status_code for _ in range(count)]


def test_headers_tell_limits_and_usage(cyclist: Caller) -> None:
    cyclist.get("/athlete")
    answer = cyclist.get("/athlete/zones")
    assert [answer.headers[name] for name in RATE_HEADERS] == ["200,2000", "2,2", "100,1000", "2,2"]


def test_the_date_is_the_moment_that_was_counted(cyclist: Caller, clock: Clock) -> None:
    clock.now = NOON + 30.9
    assert parsedate_to_datetime(cyclist.get("/athlete").headers["Date"]).timestamp() == NOON + 30


def test_the_call_over_the_limit_gets_429_with_headers(narrow: Caller) -> None:
    assert statuses(narrow, 4) == [200, 200, 200, 429]
    answer = narrow.get("/athlete")
    assert answer.json == {
        "message": "Rate Limit Exceeded",
        "errors": [{"resource": "Application", "field": "read rate limit", "code": "exceeded"}],
    }
    assert answer.headers["X-ReadRateLimit-Usage"] == "5,5"
    assert "Retry-After" not in answer.headers


def test_windows_end_at_quarters_of_an_hour(narrow: Caller, clock: Clock) -> None:
    clock.now = NOON + 59
    assert statuses(narrow, 4) == [200, 200, 200, 429]
    clock.now = NOON + 60
    answer = narrow.get("/athlete")
    assert (answer.status_code, answer.headers["X-ReadRateLimit-Usage"]) == (200, "1,5")


def test_the_day_ends_at_midnight_utc(narrow: Caller, clock: Clock) -> None:
    assert statuses(narrow, 5) == [200, 200, 200, 429, 429]
    clock.now = NOON + 900
    assert statuses(narrow, 1) == [429], "five of five were used, rejected ones included"
    clock.now = (NOON // 86_400 + 1) * 86_400
    connected_anew = connect(narrow.client, CYCLIST.athlete_id)
    assert connected_anew.get("/athlete").headers["X-ReadRateLimit-Usage"] == "1,1"


def test_rejected_calls_count(client: FlaskClient) -> None:
    assert client.get("/api/v3/athlete").status_code == 401
    assert client.get("/api/v3/no/such/path").status_code == 404
    assert client.post("/api/v3/push_subscriptions").headers["X-ReadRateLimit-Usage"] == "3,3"


def test_oauth_is_neither_counted_nor_given_headers(client: FlaskClient, cyclist: Caller) -> None:
    answer = client.post("/oauth/token", data={"client_id": "7", "client_secret": "wrong"})
    assert answer.status_code == 401
    assert not any(name in answer.headers for name in RATE_HEADERS)
    assert cyclist.get("/athlete").headers["X-ReadRateLimit-Usage"] == "1,1"


def test_streams_are_counted_but_carry_no_headers(cyclist: Caller) -> None:
    ride = next(body for body in cyclist.json("/athlete/activities?per_page=200") if not body["manual"])
    manual = next(body for body in cyclist.json("/athlete/activities?per_page=200") if body["manual"])
    for body, status in ((ride, 200), (manual, 404)):
        answer = cyclist.get(f"/activities/{body['id']}/streams")
        assert answer.status_code == status
        assert not any(name in answer.headers for name in RATE_HEADERS)
    assert cyclist.get("/athlete").headers["X-ReadRateLimit-Usage"] == "5,5"


def test_limits_can_be_reset(narrow: Caller) -> None:
    assert statuses(narrow, 4)[-1] == 429
    narrow.client.post("/mock/limits/reset")
    assert statuses(narrow, 1) == [200]
