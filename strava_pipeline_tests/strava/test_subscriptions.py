from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests

from strava_pipeline.errors import (
    AppInactive,
    ClientRefused,
    ConfigurationError,
    NotFound,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.settings import Settings
from strava_pipeline.strava import subscriptions
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.strava.subscriptions import AppAccess
from strava_pipeline_tests.strava.loopback import Loopback, Reply, reply
from strava_pipeline_tests.strava.stand_ins import NOW, Booking, MemoryLedger

CREDENTIALS = {"client_id": "4711", "client_secret": "canary-client-secret"}
CALLBACK = "https://bridge.example.invalid/webhooks/strava/canary-path"


MAX_WAIT = timedelta(seconds=7)


@pytest.fixture
def app(strava: Loopback, session: requests.Session, ledger: MemoryLedger) -> AppAccess:
    settings = Settings(client_id="4711", client_secret="canary-client-secret", api_url=f"{strava.url}/api/v3")
    return AppAccess(settings, ledger, MAX_WAIT, session)


Call = Callable[[AppAccess], Any]
CALLS: dict[str, Call] = {
    "list": subscriptions.list_subscriptions,
    "create": lambda app: subscriptions.create_subscription(app, CALLBACK, "canary-verify"),
    "delete": lambda app: subscriptions.delete_subscription(app, 9),
}


def fault(status: int, message: str, resource: str, field: str, code: str) -> Reply:
    return reply({"message": message, "errors": [{"resource": resource, "field": field, "code": code}]}, status)


def test_the_subscription_is_listed(strava: Loopback, app: AppAccess) -> None:
    strava.answers(reply([{"id": 9, "callback_url": CALLBACK}]), reply([]))
    assert subscriptions.list_subscriptions(app) == [{"id": 9, "callback_url": CALLBACK}]
    assert subscriptions.list_subscriptions(app) == []
    (asked, _) = strava.asked
    assert (asked.method, asked.path, asked.query) == ("GET", "/api/v3/push_subscriptions", CREDENTIALS)
    assert "Authorization" not in asked.headers


def test_a_subscription_is_created(strava: Loopback, app: AppAccess) -> None:
    strava.answers(reply({"id": 9}, 201))
    assert subscriptions.create_subscription(app, CALLBACK, "canary-verify") == 9
    (asked,) = strava.asked
    assert (asked.method, asked.target) == ("POST", "/api/v3/push_subscriptions")
    assert asked.form == CREDENTIALS | {"callback_url": CALLBACK, "verify_token": "canary-verify"}


def test_a_subscription_is_deleted(strava: Loopback, app: AppAccess) -> None:
    strava.answers(Reply(204, b""))
    subscriptions.delete_subscription(app, 9)
    (asked,) = strava.asked
    assert (asked.method, asked.target, asked.form) == ("DELETE", "/api/v3/push_subscriptions/9", CREDENTIALS)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (fault(401, "Authorization Error", "Application", "", "invalid"), ClientRefused),
        (fault(400, "Bad Request", "PushSubscription", "callback url", "not verifiable"), RejectedRequest),
        (fault(404, "Resource Not Found", "PushSubscription", "", "not found"), NotFound),
        (Reply(503, b"<html>"), RetriableStravaError),
        (Reply(200, b"<html>"), RetriableStravaError),
        (Reply(404, b"<html>"), RetriableStravaError),
        (Reply(401, b"<html>"), RetriableStravaError),
        (fault(200, "Forbidden", "Application", "", "invalid"), RetriableStravaError),
        (Reply(302, headers={"Location": "https://elsewhere.example.invalid/?canary"}), RetriableStravaError),
    ],
)
def test_a_refusal_is_typed_and_tells_no_secret(
    strava: Loopback, app: AppAccess, call: Call, answer: Reply, expected: type[StravaError]
) -> None:
    strava.answers(answer)
    with pytest.raises(StravaError) as caught:
        call(app)
    assert type(caught.value) is expected
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_unreachable_strava_tells_no_secret(app: AppAccess, ledger: MemoryLedger, call: Call) -> None:
    nowhere = replace(app, settings=app.settings.model_copy(update={"api_url": "http://127.0.0.1:9"}))
    with pytest.raises(RetriableStravaError, match="cannot be reached") as caught:
        call(nowhere)
    assert "canary" not in str(caught.value)
    # It may have arrived: the room for it is not given back.
    assert (ledger.statuses, ledger.released) == ([None], [])


@pytest.mark.parametrize(("name", "body"), [("list", {}), ("list", [1]), ("create", []), ("create", {"id": "9"})])
def test_an_answer_of_another_shape_may_pass(strava: Loopback, app: AppAccess, name: str, body: object) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError) as caught:
        CALLS[name](app)
    assert caught.value.status == 200


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_without_the_apps_credentials_nothing_is_asked(
    strava: Loopback, app: AppAccess, ledger: MemoryLedger, call: Call
) -> None:
    with pytest.raises(ConfigurationError, match="STRAVA_CLIENT"):
        call(replace(app, settings=Settings(api_url=strava.url)))
    assert (strava.asked, ledger.booked) == ([], [])


@pytest.mark.parametrize(
    ("name", "answer", "endpoint"),
    [
        ("list", reply([]), "/push_subscriptions"),
        ("create", reply({"id": 9}, 201), "/push_subscriptions"),
        ("delete", Reply(204, b""), "/push_subscriptions/{id}"),
    ],
)
def test_each_call_is_booked_for_the_app_and_settled_by_its_answer(
    strava: Loopback, app: AppAccess, ledger: MemoryLedger, name: str, answer: Reply, endpoint: str
) -> None:
    usage = {"X-RateLimit-Limit": "200,2000", "X-RateLimit-Usage": "3,40"}
    strava.answers(replace(answer, headers=usage))
    CALLS[name](app)
    assert ledger.booked == [Booking(Lane.LIVE, endpoint, None, timedelta(seconds=30), MAX_WAIT)]
    assert ledger.statuses == [answer.status]
    assert str(ledger.settled[0][1].rates.overall_usage) == "Pair(short=3, long=40)"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_refused_call_counts_and_closes_its_window(
    strava: Loopback, app: AppAccess, ledger: MemoryLedger, call: Call
) -> None:
    strava.answers(fault(429, "Rate Limit Exceeded", "Application", "overall rate limit", "exceeded"))
    with pytest.raises(QuotaExhausted):
        call(app)
    assert ledger.statuses == [429]
    assert ledger.settled[0][1].names_a_window


@pytest.mark.parametrize("refusal", [QuotaExhausted("no room", retry_at=NOW), AppInactive("switched off")])
def test_without_room_nothing_is_asked(
    strava: Loopback, app: AppAccess, ledger: MemoryLedger, refusal: StravaError
) -> None:
    ledger.refusal = refusal
    for call in CALLS.values():
        with pytest.raises(type(refusal)):
            call(app)
    assert strava.asked == []
