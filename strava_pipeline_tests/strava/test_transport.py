from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import requests

from strava_pipeline.errors import (
    AppInactive,
    MissingScope,
    NeedsReauthorization,
    NotFound,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava import oauth, transport
from strava_pipeline.strava.http import DEADLINE_SECONDS
from strava_pipeline.strava.quota.windows import Lane, Pair, Reservation
from strava_pipeline.strava.transport import Transport
from strava_pipeline_tests.strava.loopback import INACTIVE, UNAUTHORIZED, Answer, Asked, Loopback, Raw, Reply, reply
from strava_pipeline_tests.strava.stand_ins import NOW, Booking, MemoryLedger, MemoryTokens

ATHLETE = 4_000_000_101
CUT = Raw(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]), hang_up=True)


def test_a_call_is_booked_sent_and_settled(api: Transport, strava: Loopback, ledger: MemoryLedger) -> None:
    strava.answers(
        reply(
            {"id": 7},
            X_RateLimit_Limit="200,2000",
            X_RateLimit_Usage="3,30",
            X_ReadRateLimit_Limit="100,1000",
            X_ReadRateLimit_Usage="2,20",
        )
    )
    assert api.get(ATHLETE, "/activities/12345/streams", {"keys": "time,watts"}) == {"id": 7}
    [asked] = strava.asked
    assert (asked.method, asked.path, asked.query) == (
        "GET",
        "/api/v3/activities/12345/streams",
        {"keys": "time,watts"},
    )
    assert "token" not in asked.target
    longest = timedelta(seconds=DEADLINE_SECONDS)
    assert ledger.booked == [
        Booking(Lane.LIVE, "/activities/{id}/streams", ATHLETE, longest=longest, max_wait=timedelta(seconds=7))
    ]
    [(call_id, outcome)] = ledger.settled
    assert (call_id, outcome.status, outcome.server_time) == (1, 200, NOW)
    assert outcome.rates.overall_limit == Pair(200, 2000)
    assert outcome.rates.overall_usage == Pair(3, 30)
    assert outcome.rates.read_limit == Pair(100, 1000)
    assert outcome.rates.read_usage == Pair(2, 20)


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/athlete", "/athlete"),
        ("/athlete/activities", "/athlete/activities"),
        ("/athletes/9007199254740993/stats", "/athletes/{id}/stats"),
        ("/activities/1", "/activities/{id}"),
        ("/gear/b123", "/gear/{id}"),
    ],
)
def test_endpoints_are_booked_without_ids(api: Transport, ledger: MemoryLedger, path: str, endpoint: str) -> None:
    api.get(ATHLETE, path)
    assert [booking.endpoint for booking in ledger.booked] == [endpoint]


def test_expired_token_is_refreshed_once(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens
) -> None:
    strava.answers(UNAUTHORIZED, reply({"id": 7}))
    assert api.get(ATHLETE, "/athlete") == {"id": 7}
    assert strava.bearers == ["token-1", "token-2"]
    assert tokens.refreshes == ["canary-refresh-1"]
    assert ledger.statuses == [401, 200]


def test_a_second_401_is_not_refreshed_again(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens
) -> None:
    strava.answers(UNAUTHORIZED)
    with pytest.raises(NeedsReauthorization):
        api.get(ATHLETE, "/athlete")
    assert strava.bearers == ["token-1", "token-2"]
    assert tokens.refreshes == ["canary-refresh-1"]
    assert ledger.statuses == [401, 401]


def test_a_missing_scope_is_no_reason_to_refresh(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens
) -> None:
    strava.answers(
        reply({"message": "m", "errors": [{"resource": "AccessToken", "field": "x", "code": "missing"}]}, 401)
    )
    with pytest.raises(MissingScope):
        api.get(ATHLETE, "/athlete")
    assert tokens.refreshes == []
    assert ledger.statuses == [401]


def test_an_expired_token_is_refreshed_though_a_scope_is_missing_as_well(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens
) -> None:
    missing = {"resource": "AccessToken", "field": "x", "code": "missing"}
    expired = {"resource": "Athlete", "field": "access_token", "code": "invalid"}
    strava.answers(
        reply({"message": "m", "errors": [missing, expired]}, 401), reply({"message": "m", "errors": [missing]}, 401)
    )
    with pytest.raises(MissingScope):
        api.get(ATHLETE, "/athlete")
    assert tokens.refreshes == ["canary-refresh-1"]
    assert ledger.statuses == [401, 401]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"message": "Bad Request", "errors": []}, 400), RejectedRequest),
        (reply({"message": "Payment Required", "errors": []}, 402), RejectedRequest),
        (INACTIVE, AppInactive),
        (reply({"message": "Resource Not Found", "errors": []}, 404), NotFound),
        (Reply(429, b"<html>"), QuotaExhausted),
        (Reply(429, b"{}", {"Retry-After": "3"}), QuotaExhausted),
    ],
)
def test_what_repeating_does_not_help_is_asked_once(
    api: Transport,
    strava: Loopback,
    ledger: MemoryLedger,
    tokens: MemoryTokens,
    answer: Reply,
    expected: type[StravaError],
) -> None:
    strava.answers(answer)
    with pytest.raises(expected):
        api.get(ATHLETE, "/athlete")
    assert ledger.statuses == [answer.status]
    assert tokens.refreshes == []


@pytest.mark.parametrize("field", ["read rate limit", "overall rate limit"])
def test_a_429_tells_the_ledger_which_window_and_how_long(
    api: Transport, strava: Loopback, ledger: MemoryLedger, field: str
) -> None:
    body = {"message": "Rate Limit Exceeded", "errors": [{"resource": "Application", "field": field, "code": "e"}]}
    strava.answers(reply(body, 429, Retry_After="31"))
    with pytest.raises(QuotaExhausted):
        api.get(ATHLETE, "/athlete")
    [(_, outcome)] = ledger.settled
    assert (outcome.limit_reached, outcome.names_a_window, outcome.answered) == (True, True, True)
    assert outcome.retry_after == timedelta(seconds=31)


def test_a_429_that_is_not_stravas_tells_neither_window_nor_time(
    api: Transport, strava: Loopback, ledger: MemoryLedger
) -> None:
    strava.answers(Reply(429, b"<html>", {"Retry-After": "86400"}))
    with pytest.raises(QuotaExhausted):
        api.get(ATHLETE, "/athlete")
    [(_, outcome)] = ledger.settled
    assert (outcome.limit_reached, outcome.names_a_window, outcome.answered) == (True, False, None)
    assert outcome.retry_after is None


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (reply({"message": "error"}, 500), 500),
        (Reply(502, b"<html>"), 502),
        (Reply(597, b""), 597),
        (Reply(200, b"<html>maintenance</html>"), 200),
        (Reply(200, b'{"id": '), 200),
        (reply({"message": "Forbidden", "errors": []}), 200),
        (Reply(302, b"", {"Location": "/elsewhere"}), 302),
        (Reply(401, b"<html>"), 401),
        (Reply(404, b"<html>"), 404),
        (reply({}, 408), 408),
        (CUT, None),
    ],
)
def test_what_may_pass_is_tried_three_times_more(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger, answer: Answer, status: int | None
) -> None:
    strava.answers(answer)
    with pytest.raises(RetriableStravaError) as caught:
        api.get(ATHLETE, "/athlete")
    assert ledger.statuses == [status] * 5  # the last one is the witness
    assert (caught.value.status, caught.value.answered) == (status, False)
    assert [(outcome.answered, outcome.server_time) for _, outcome in ledger.settled] == [(False, None)] * 5


def test_a_page_with_401_refreshes_nothing(
    without_waits: None, api: Transport, strava: Loopback, tokens: MemoryTokens
) -> None:
    strava.answers(Reply(401, b"<html>"), reply({"message": "Unauthorized"}, 401), reply({"id": 7}))
    assert api.get(ATHLETE, "/athlete") == {"id": 7}
    assert strava.bearers == ["token-1"] * 3
    assert tokens.refreshes == []


def test_what_has_passed_gives_its_answer(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens
) -> None:
    strava.answers(reply({}, 503), CUT, UNAUTHORIZED, reply([1]))
    assert api.get(ATHLETE, "/athlete") == [1]
    assert ledger.statuses == [503, None, 401, 200]
    assert tokens.refreshes == ["canary-refresh-1"]


def test_retries_wait_one_two_and_four_seconds(
    api: Transport, strava: Loopback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    caplog.set_level(logging.DEBUG)
    strava.answers(reply({}, 500))
    with pytest.raises(RetriableStravaError):
        api.get(ATHLETE, "/athlete")
    assert len(waits) == 3
    for wait, least in zip(waits, (1, 2, 4), strict=True):
        assert least <= wait <= least + transport.JITTER_SECONDS
    assert "token-1" not in caplog.text


def test_a_used_up_quota_sends_nothing(api: Transport, strava: Loopback, ledger: MemoryLedger) -> None:
    ledger.refusal = QuotaExhausted("used up", retry_at=NOW)
    with pytest.raises(QuotaExhausted):
        api.get(ATHLETE, "/athlete")
    assert strava.asked == []
    assert ledger.statuses == []


def test_a_fault_of_ours_leaves_no_booking_open(
    api: Transport, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(requests.Session, "request", broken)
    with pytest.raises(ZeroDivisionError):
        api.get(ATHLETE, "/athlete")
    assert ledger.statuses == [None]


def test_a_dead_grant_ends_the_call_without_a_retry(
    app: Settings,
    strava: Loopback,
    session: requests.Session,
    ledger: MemoryLedger,
    tokens: MemoryTokens,
) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path == "/oauth/token":
            fault = {"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}
            return reply({"message": "Bad Request", "errors": [fault]}, 400)
        return UNAUTHORIZED

    strava.answer = answer
    api = Transport(
        api_url=f"{strava.url}/api/v3",
        lane=Lane.LIVE,
        ledger=ledger,
        tokens=tokens,
        refresh=partial(oauth.refresh, app, session),
        max_wait=timedelta(0),
        session=session,
    )
    with pytest.raises(NeedsReauthorization):
        api.get(ATHLETE, "/athlete")
    assert [asked.path for asked in strava.asked] == ["/api/v3/athlete", "/oauth/token"]
    assert ledger.statuses == [401]
    assert "canary" not in repr(api)


RATE_LIMITED = reply(
    {
        "message": "Rate Limit Exceeded",
        "errors": [{"resource": "Application", "field": "read rate limit", "code": "exceeded"}],
    },
    429,
)


def test_a_429_is_asked_again_once_its_block_has_been_waited_out(
    api: Transport, strava: Loopback, ledger: MemoryLedger
) -> None:
    ledger.waits_out = True
    strava.answers(RATE_LIMITED, reply({"id": 7}))
    assert api.get(ATHLETE, "/athlete") == {"id": 7}
    assert ledger.statuses == [429, 200]


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_used_up_quota_is_one_under_any_status(
    api: Transport, strava: Loopback, ledger: MemoryLedger, status: int
) -> None:
    ledger.waits_out = True
    strava.answers(replace(RATE_LIMITED, status=status), reply({"id": 7}))
    assert api.get(ATHLETE, "/athlete") == {"id": 7}
    assert ledger.statuses == [status, 200]
    assert ledger.settled[0][1].limit_reached


def test_a_block_beyond_the_longest_wait_tells_the_ledgers_time(
    api: Transport, strava: Loopback, ledger: MemoryLedger
) -> None:
    strava.answers(RATE_LIMITED)
    with pytest.raises(QuotaExhausted) as told:
        api.get(ATHLETE, "/athlete")
    assert (told.value.retry_at, told.value.status) == (NOW, None)
    assert ledger.statuses == [429]


def test_429s_without_end_end_the_call(api: Transport, strava: Loopback, ledger: MemoryLedger) -> None:
    ledger.waits_out = True
    strava.answers(*[RATE_LIMITED] * 3)
    with pytest.raises(QuotaExhausted) as told:
        api.get(ATHLETE, "/athlete")
    assert told.value.status == 429
    assert ledger.statuses == [429, 429, 429]


def test_attempts_end_with_the_budget_of_the_call(
    api: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_WHOLE", replace(transport._WHOLE, budget_s=0.2))
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.05)
    strava.answers(*[Raw(lambda: iter([]), hang_up=False)] * 4)
    with pytest.raises(RetriableStravaError, match="no whole answer in time"):
        api.get(ATHLETE, "/athlete")
    assert [booking.endpoint for booking in ledger.booked] == ["/athlete", "/athlete/activities"]


def test_room_is_given_back_when_the_token_is_gone_by_the_time_there_is_room(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = ledger.reserve

    def revoked_meanwhile(*args: Any, **kwargs: Any) -> Reservation:
        monkeypatch.setattr(tokens, "access_token", gone)
        return reserve(*args, **kwargs)

    def gone(athlete_id: int) -> str:
        raise NeedsReauthorization(f"athlete {athlete_id} is revoked")

    monkeypatch.setattr(ledger, "reserve", revoked_meanwhile)
    with pytest.raises(NeedsReauthorization):
        api.get(ATHLETE, "/athlete")
    assert strava.asked == []
    assert (ledger.released, ledger.settled) == ([1], [])


def test_nothing_is_sent_after_the_time_its_room_was_booked_for(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: passed[0])
    monkeypatch.setattr(transport, "_WHOLE", replace(transport._WHOLE, attempts=1))
    read = tokens.access_token

    def waits_for_its_row(athlete_id: int) -> Secret:
        passed[0] += DEADLINE_SECONDS - 1
        return read(athlete_id)

    monkeypatch.setattr(tokens, "access_token", waits_for_its_row)
    with pytest.raises(RetriableStravaError, match="reading the token took so long that nothing was sent"):
        api.get(ATHLETE, "/athlete")
    assert strava.asked == []
    assert (ledger.released, ledger.settled) == ([1], [])
