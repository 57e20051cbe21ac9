from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from strava_pipeline.errors import ConfigurationError, NotFound, RejectedRequest, RetriableStravaError, StravaError
from strava_pipeline.settings import Settings
from strava_pipeline.strava import subscriptions
from strava_pipeline_tests.strava.loopback import Loopback, Reply, reply

CREDENTIALS = {"client_id": "4711", "client_secret": "canary-client-secret"}
CALLBACK = "https://bridge.example.invalid/webhooks/strava/canary-path"


@pytest.fixture
def app(strava: Loopback) -> Settings:
    return Settings(client_id="4711", client_secret="canary-client-secret", api_url=f"{strava.url}/api/v3")


Call = Callable[[Settings, requests.Session], Any]
CALLS: dict[str, Call] = {
    "list": subscriptions.list_subscriptions,
    "create": lambda app, session: subscriptions.create_subscription(app, session, CALLBACK, "canary-verify"),
    "delete": lambda app, session: subscriptions.delete_subscription(app, session, 9),
}


def fault(status: int, message: str, resource: str, field: str, code: str) -> Reply:
    return reply({"message": message, "errors": [{"resource": resource, "field": field, "code": code}]}, status)


def test_the_subscription_is_listed(strava: Loopback, session: requests.Session, app: Settings) -> None:
    strava.answers(reply([{"id": 9, "callback_url": CALLBACK}]), reply([]))
    assert subscriptions.list_subscriptions(app, session) == [{"id": 9, "callback_url": CALLBACK}]
    assert subscriptions.list_subscriptions(app, session) == []
    (asked, _) = strava.asked
    assert (asked.method, asked.path, asked.query) == ("GET", "/api/v3/push_subscriptions", CREDENTIALS)
    assert "Authorization" not in asked.headers


def test_a_subscription_is_created(strava: Loopback, session: requests.Session, app: Settings) -> None:
    strava.answers(reply({"id": 9}, 201))
    assert subscriptions.create_subscription(app, session, CALLBACK, "canary-verify") == 9
    (asked,) = strava.asked
    assert (asked.method, asked.target) == ("POST", "/api/v3/push_subscriptions")
    assert asked.form == CREDENTIALS | {"callback_url": CALLBACK, "verify_token": "canary-verify"}


def test_a_subscription_is_deleted(strava: Loopback, session: requests.Session, app: Settings) -> None:
    strava.answers(Reply(204, b""))
    subscriptions.delete_subscription(app, session, 9)
    (asked,) = strava.asked
    assert (asked.method, asked.target, asked.form) == ("DELETE", "/api/v3/push_subscriptions/9", CREDENTIALS)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (fault(401, "Authorization Error", "Application", "", "invalid"), RejectedRequest),
        (fault(400, "Bad Request", "PushSubscription", "callback url", "not verifiable"), RejectedRequest),
        (fault(404, "Resource Not Found", "PushSubscription", "", "not found"), NotFound),
        (Reply(503, b"<html>"), RetriableStravaError),
        (Reply(200, b"<html>"), RetriableStravaError),
        (Reply(302, headers={"Location": "https://elsewhere.example.invalid/"}), RejectedRequest),
    ],
)
def test_a_refusal_is_typed_and_tells_no_secret(
    strava: Loopback, session: requests.Session, app: Settings, call: Call, answer: Reply, expected: type[StravaError]
) -> None:
    strava.answers(answer)
    with pytest.raises(StravaError) as caught:
        call(app, session)
    assert type(caught.value) is expected
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_unreachable_strava_tells_no_secret(session: requests.Session, call: Call) -> None:
    nowhere = Settings(client_id="4711", client_secret="canary-client-secret", api_url="http://127.0.0.1:9")
    with pytest.raises(RetriableStravaError, match="cannot be reached") as caught:
        call(nowhere, session)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("name", "body"), [("list", {}), ("list", [1]), ("create", []), ("create", {"id": "9"})])
def test_an_answer_of_another_shape_may_pass(
    strava: Loopback, session: requests.Session, app: Settings, name: str, body: object
) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError) as caught:
        CALLS[name](app, session)
    assert caught.value.status == 200


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_without_the_apps_credentials_nothing_is_asked(strava: Loopback, session: requests.Session, call: Call) -> None:
    with pytest.raises(ConfigurationError, match="STRAVA_CLIENT"):
        call(Settings(api_url=strava.url), session)
    assert strava.asked == []
