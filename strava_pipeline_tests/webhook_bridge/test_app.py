from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import URL, Engine

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import generate_key
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.webhook_bridge.answers import refusal
from webhook_bridge.app import create_app

PATH = "/webhooks/strava"
SECRET = "signing-secret"
EVENT = json.dumps(
    {
        "aspect_type": "create",
        "event_time": 1_793_702_430,
        "object_id": 1,
        "object_type": "activity",
        "owner_id": 2,
        "subscription_id": 3,
    }
).encode()


@pytest.fixture
def nowhere() -> Iterator[Engine]:
    """An engine whose database is away."""
    engine = open_engine(URL.create("postgresql+psycopg", "someone", "canary-password", "127.0.0.1", 1, "strava"))
    yield engine
    engine.dispose()


def bridge_settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "webhook_verify_token": "canary-verify",
        "webhook_signing_secrets": SECRET,
        "webhook_subscription_id": 3,
        "token_keys": generate_key(),
    }
    return Settings(**given | changes)


@pytest.fixture
def client(nowhere: Engine) -> FlaskClient:
    return create_app(bridge_settings(), nowhere).test_client()


def signed(body: bytes) -> dict[str, str]:
    timestamp = str(int(time.time()))
    mac = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Strava-Signature": f"t={timestamp},v1={mac}"}


def test_a_database_that_is_away_is_503_and_nothing_leaks(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post(PATH, data=EVENT, headers=signed(EVENT))
    assert refusal(answer) == (503, "unavailable")
    assert "127.0.0.1" in caplog.text
    assert "canary" not in caplog.text


def test_readiness_needs_the_database_and_liveness_does_not(client: FlaskClient) -> None:
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_a_fault_of_ours_tells_its_number_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def begin(self) -> None:
            raise ZeroDivisionError("canary-detail")

        connect = begin

    app = create_app(bridge_settings(), Broken())  # type: ignore[arg-type]  # what is injected is broken
    answer = app.test_client().post(PATH, data=EVENT, headers=signed(EVENT))
    told = answer.get_json()
    assert answer.status_code == 500
    assert set(told) == {"error", "id"}
    assert told["error"] == "internal"
    assert b"canary" not in answer.data
    # The operator finds the rest under that number.
    assert told["id"] in caplog.text
    assert "canary-detail" in caplog.text


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1,v1=2",
        # Each worker collects all tests, and their names must agree.
        pytest.param(f"t={int(time.time())},v1={'0' * 64}", id="of now"),
        f"t=1,v1={'0' * 64}",
        "t=\xe9,v1=x",
    ],
)
def test_every_failed_signature_has_the_same_answer(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, header: str | None
) -> None:
    caplog.set_level(logging.WARNING)
    answer = client.post(PATH, data=EVENT, headers={} if header is None else {"X-Strava-Signature": header})
    assert refusal(answer) == (401, "signature")
    assert "delivery rejected: signature_" in caplog.text


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b"[" * 16_000, 400, "malformed"),
        (b'{"a":"\xff"}', 400, "malformed"),
        (EVENT.replace(b'"subscription_id": 3', b'"subscription_id": 4'), 403, "subscription"),
        (b" " * (16 * 1024 + 1), 413, "too_large"),
        (b" " * 1_000_000, 413, "too_large"),
    ],
)
def test_a_delivery_that_is_not_taken_tells_why(client: FlaskClient, body: bytes, status: int, error: str) -> None:
    answer = client.post(PATH, data=body, headers=signed(body))
    assert refusal(answer) == (status, error)


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/webhooks", 404, "not found"),
        ("POST", "/webhooks/strava/guess", 404, "not found"),
        ("PUT", PATH, 405, "method not allowed"),
        ("DELETE", PATH, 405, "method not allowed"),
        ("POST", "/health/live", 405, "method not allowed"),
    ],
)
def test_errors_of_http_are_json(client: FlaskClient, method: str, path: str, status: int, error: str) -> None:
    answer = client.open(path, method=method)
    assert refusal(answer) == (status, error)


@pytest.mark.parametrize(("method", "path"), [("GET", "/health/live"), ("GET", "/nowhere"), ("POST", PATH)])
def test_every_answer_is_hardened(client: FlaskClient, method: str, path: str) -> None:
    headers = client.open(path, method=method).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in headers


def handshake(client: FlaskClient, **changes: Any) -> tuple[int, Any]:
    query = {"hub.mode": "subscribe", "hub.challenge": '<b>"15f7d1', "hub.verify_token": "canary-verify"}
    answer = client.get(PATH, query_string=query | {f"hub.{name}": value for name, value in changes.items()})
    assert answer.mimetype == "application/json"
    return answer.status_code, answer.get_json() if answer.status_code == 200 else refusal(answer)[1]


def test_the_handshake_echoes_the_challenge(client: FlaskClient) -> None:
    assert handshake(client) == (200, {"hub.challenge": '<b>"15f7d1'})


@pytest.mark.parametrize(
    "changes",
    [
        {"verify_token": "guess"},
        {"verify_token": ""},
        {"verify_token": "\xe9"},
        {"verify_token": ["canary-verify", "canary-verify"]},
        {"mode": "unsubscribe"},
        {"mode": []},
        {"challenge": []},
        {"challenge": ["a", "b"]},
        {"challenge": "x" * 256},
    ],
)
def test_a_handshake_of_somebody_else_is_refused(client: FlaskClient, changes: dict[str, Any]) -> None:
    assert handshake(client, **changes) == (403, "handshake")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"webhook_verify_token": None, "client_id": "4711"}, "STRAVA_WEBHOOK_VERIFY_TOKEN"),
        ({"webhook_signing_secrets": None}, "STRAVA_WEBHOOK_SIGNING_SECRETS"),
        ({"webhook_signing_secrets": " , "}, "STRAVA_WEBHOOK_SIGNING_SECRETS"),
        ({"webhook_signature": "off"}, "STRAVA_WEBHOOK_PATH_TOKEN"),
        ({"webhook_signature": "optional"}, "STRAVA_WEBHOOK_PATH_TOKEN"),
    ],
)
def test_a_bridge_that_could_not_verify_does_not_start(nowhere: Engine, changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is not set"):
        create_app(bridge_settings(**changes), nowhere)
