"""Strava's handshake and its deliveries, against a real database."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, make_url, select

from strava_pipeline.settings import Settings, SignatureMode, load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.webhook_bridge.answers import refusal
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, RIDER, delivery, signed
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from webhook_bridge import intake
from webhook_bridge.app import create_app
from webhook_bridge.webhooks import BODY_CAP_BYTES

# Strava gives an answer two seconds.
STRAVAS_PATIENCE_SECONDS = 2


pytestmark = pytest.mark.usefixtures("rider")


@pytest.fixture
def woken() -> list[bool]:
    """One entry for each time the dispatcher was told of an event."""
    return []


@pytest.fixture
def client(settings: Settings, engine: Engine, woken: list[bool]) -> FlaskClient:
    return create_app(settings, engine, wake=lambda: woken.append(True)).test_client()


def client_with(monkeypatch: pytest.MonkeyPatch, engine: Engine, **environment: str) -> FlaskClient:
    """A bridge with more settings than the usual ones."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return create_app(load_settings(), engine).test_client()


def stored(engine: Engine) -> list[tuple[int, str, bool]]:
    with engine.connect() as connection:
        rows = connection.execute(select(webhook_events).order_by(webhook_events.c.id))
        return [(row.object_id, row.state, row.signed) for row in rows]


def test_handshake_echoes_the_challenge(client: FlaskClient) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "<b>1f</b>", "hub.verify_token": "verify-token"}
    answer = client.get(PATH, query_string=query)
    assert (answer.status_code, answer.json) == (200, {"hub.challenge": "<b>1f</b>"})
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    [
        "hub.mode=subscribe&hub.challenge=a&hub.verify_token=wrong",
        "hub.mode=subscribe&hub.challenge=a&hub.verify_token=%C3%A9",
        "hub.mode=unsubscribe&hub.challenge=a&hub.verify_token=verify-token",
        "hub.mode=subscribe&hub.challenge=a&hub.challenge=b&hub.verify_token=verify-token",
        "hub.mode=subscribe&hub.challenge=a&hub.verify_token=verify-token&hub.verify_token=wrong",
        "hub.mode=subscribe&hub.verify_token=verify-token",
        f"hub.mode=subscribe&hub.challenge={'a' * 256}&hub.verify_token=verify-token",
        "",
    ],
)
def test_handshake_of_a_stranger_is_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{PATH}?{query}")
    assert refusal(answer) == (403, "handshake")


def test_signed_event_is_stored_before_it_is_acknowledged(
    client: FlaskClient, engine: Engine, woken: list[bool]
) -> None:
    answer = client.post(PATH, data=delivery(), headers=signed(delivery()))
    assert (answer.status_code, answer.json) == (200, {"status": "new"})
    assert stored(engine) == [(2**62, "received", True)]
    assert woken == [True]


def test_redelivery_is_acknowledged_and_kept_once(client: FlaskClient, engine: Engine, woken: list[bool]) -> None:
    for age in (0, 60, 120):
        answer = client.post(PATH, data=delivery(), headers=signed(delivery(), age=age))
        assert answer.status_code == 200
    assert answer.json == {"status": "duplicate"}
    assert len(stored(engine)) == len(woken) == 1


def test_event_of_a_stranger_is_acknowledged_and_not_kept(client: FlaskClient, engine: Engine) -> None:
    body = delivery(owner_id=999)
    answer = client.post(PATH, data=body, headers=signed(body))
    assert (answer.status_code, answer.json) == (200, {"status": "unknown_owner"})
    assert stored(engine) == []


def test_event_of_another_subscription_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine
) -> None:
    client = client_with(monkeypatch, engine, STRAVA_WEBHOOK_SUBSCRIPTION_ID="5")
    other = delivery(subscription_id=6)
    answer = client.post(PATH, data=other, headers=signed(other))
    assert refusal(answer) == (403, "subscription")
    assert stored(engine) == []
    assert client.post(PATH, data=delivery(), headers=signed(delivery())).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Strava-Signature": ""},
        {"X-Strava-Signature": "t=1,v1=zz"},
        {"X-Strava-Signature": f"t={'1' * 10},v1={'é' * 64}"},
        signed(delivery(), secret="another"),
        signed(delivery(), age=301),
        signed(delivery(), age=-7200),
        signed(delivery() + b" "),
    ],
    ids=["none", "empty", "malformed", "not ASCII", "other secret", "too old", "too early", "other body"],
)
def test_every_bad_signature_gets_the_same_answer(client: FlaskClient, engine: Engine, headers: dict[str, str]) -> None:
    answer = client.post(PATH, data=delivery(), headers=headers)
    assert refusal(answer) == (401, "signature")
    assert stored(engine) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"object_id": NaN}', delivery(object_id=True)])
def test_malformed_event_is_refused_with_400(client: FlaskClient, engine: Engine, body: bytes) -> None:
    answer = client.post(PATH, data=body, headers=signed(body))
    assert refusal(answer) == (400, "malformed")
    assert stored(engine) == []


def test_body_at_the_cap_is_read_and_a_larger_one_is_not(client: FlaskClient) -> None:
    body = delivery().ljust(BODY_CAP_BYTES)
    assert client.post(PATH, data=body, headers=signed(body)).status_code == 200
    answer = client.post(PATH, data=body + b" ", headers=signed(body + b" "))
    assert refusal(answer) == (413, "too_large")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(client: FlaskClient, method: str) -> None:
    assert client.open(PATH, method=method).status_code == 405


def test_path_token_is_needed_where_one_is_set(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine
) -> None:
    client = client_with(monkeypatch, engine, STRAVA_WEBHOOK_SIGNATURE="off", STRAVA_WEBHOOK_PATH_TOKEN="unguessable")
    for path in (PATH, f"{PATH}/wrong", f"{PATH}/unguessabl%C3%A9", f"{PATH}/unguessable/more"):
        assert client.post(path, data=delivery()).status_code == 404
        assert client.get(f"{path}?hub.mode=subscribe&hub.challenge=a&hub.verify_token=verify-token").status_code == 404
    assert stored(engine) == []
    assert client.post(f"{PATH}/unguessable", data=delivery()).status_code == 200
    assert stored(engine) == [(2**62, "received", False)]


FORGED = {
    "deletion": {"aspect_type": "delete", "object_id": 77},
    "deauthorization": {
        "object_type": "athlete",
        "object_id": RIDER,
        "aspect_type": "update",
        "updates": {"authorized": "false"},
    },
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("mode", SignatureMode)
def test_a_forged_event_changes_nothing_but_at_most_leaves_a_hint(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine, mode: SignatureMode, forged: dict[str, Any]
) -> None:
    environment = {"STRAVA_WEBHOOK_SIGNATURE": mode.value, "STRAVA_WEBHOOK_PATH_TOKEN": "unguessable"}
    client = client_with(monkeypatch, engine, **environment)

    def everything_else() -> list[Any]:
        with engine.connect() as connection:
            kept = [table for table in metadata.sorted_tables if table is not webhook_events]
            return [connection.execute(select(table)).all() for table in kept]

    before = everything_else()
    body = delivery(**forged)
    assert client.post(f"{PATH}/guess", data=body).status_code == 404
    assert client.post(f"{PATH}/unguessable", data=body, headers=signed(body, secret="guess")).status_code in {200, 401}
    # Whoever has learnt the path gets a hint in where signatures are not required, marked as what it is.
    taken = client.post(f"{PATH}/unguessable", data=body).status_code
    assert taken == (401 if mode is SignatureMode.REQUIRED else 200)
    assert stored(engine) == ([] if taken == 401 else [(forged["object_id"], "received", False)])
    assert everything_else() == before


def test_optional_signature_is_checked_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine
) -> None:
    environment = {"STRAVA_WEBHOOK_SIGNATURE": "optional", "STRAVA_WEBHOOK_PATH_TOKEN": "unguessable"}
    client = client_with(monkeypatch, engine, **environment)
    path = f"{PATH}/unguessable"
    assert client.post(path, data=delivery(), headers=signed(delivery(), secret="another")).status_code == 401
    assert client.post(path, data=delivery()).status_code == 200
    other = delivery(object_id=3)
    assert client.post(path, data=other, headers=signed(other)).status_code == 200
    assert stored(engine) == [(2**62, "received", False), (3, "received", True)]


def test_database_away_is_503_without_a_reason(settings: Settings) -> None:
    with engine_away() as away:
        answer = create_app(settings, away).test_client().post(PATH, data=delivery(), headers=signed(delivery()))
    assert refusal(answer) == (503, "unavailable")


def test_database_that_hangs_is_503_while_strava_still_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So short that a busy machine keeps Strava's patience all the same; see test_intake.py.
    monkeypatch.setattr(intake, "STORE_SECONDS", 0.05)
    # The kernel takes the connection, and nobody ever answers on it.
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hanging = open_engine(make_url(f"postgresql+psycopg://me@127.0.0.1:{deaf.getsockname()[1]}/x"))
        client = create_app(settings, hanging).test_client()
        began = time.monotonic()
        answer = client.post(PATH, data=delivery(), headers=signed(delivery()))
        took = time.monotonic() - began
    assert refusal(answer) == (503, "unavailable")
    assert took < STRAVAS_PATIENCE_SECONDS


def test_an_unexpected_error_tells_its_number_only(
    client: FlaskClient, owner_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ops.webhook_events DROP COLUMN updates")
    answer = client.post(PATH, data=delivery(), headers=signed(delivery()))
    assert answer.status_code == 500
    assert answer.json is not None
    assert set(answer.json) == {"error", "id"}
    assert answer.json["id"] in caplog.text


def test_the_served_bridge_takes_chunks_up_to_the_cap_and_ends_on_sigterm(
    bridge: tuple[subprocess.Popen[str], int], engine: Engine
) -> None:
    process, port = bridge

    def post(body: bytes) -> tuple[int, bytes]:
        chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("POST", PATH, body=chunks, headers=signed(body), encode_chunked=True)
            answer = connection.getresponse()
            return answer.status, answer.read()

    assert post(delivery().ljust(BODY_CAP_BYTES)) == (200, b'{"status": "new"}')
    status, told = post(delivery(object_id=2).ljust(BODY_CAP_BYTES + 1))
    assert (status, json.loads(told)["error"]) == (413, "too_large")
    assert [object_id for object_id, *_ in stored(engine)] == [2**62]
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0
