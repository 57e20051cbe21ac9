"""Who sends bad requests is slowed down; who sends good ones never is."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from sqlalchemy import Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline_tests.webhook_bridge.answers import refusal
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed
from webhook_bridge import bad_requests
from webhook_bridge.app import create_app
from webhook_bridge.bad_requests import PER_MINUTE, WINDOW_SECONDS, BadRequests

FORGER, OTHER = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def app(settings: Settings, engine: Engine, rider: None) -> Flask:
    app = create_app(settings, engine)
    app.add_url_rule("/page", view_func=lambda: Response("a page for people"))
    return app


def client_at(app: Flask, address: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


def forge(client: FlaskClient, times: int) -> list[int]:
    headers = signed(delivery(), secret="guess")
    return [client.post(PATH, data=delivery(), headers=headers).status_code for _ in range(times)]


def test_a_forger_gets_no_more_than_so_many_answers_a_minute(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    forger = client_at(app, FORGER)
    assert forge(forger, PER_MINUTE + 5) == [401] * PER_MINUTE + [429] * 5
    # What comes after fills no log.
    assert sum("delivery rejected" in record.getMessage() for record in caplog.records) == PER_MINUTE
    answer = forger.get("/page")
    assert refusal(answer) == (429, "too many bad requests")
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_SECONDS
    assert client_at(app, OTHER).get("/page").status_code == 200


@pytest.mark.parametrize(
    "environment",
    [{}, {"STRAVA_WEBHOOK_SIGNATURE": "off", "STRAVA_WEBHOOK_PATH_TOKEN": "unguessable"}],
    ids=["signed", "behind the path token"],
)
def test_stravas_events_and_handshake_pass_whatever_came_from_the_same_address(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine, rider: None, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = client_at(create_app(load_settings(), engine), FORGER)
    path = f"{PATH}/unguessable" if environment else PATH
    for _ in range(PER_MINUTE + 1):
        client.post(f"{PATH}/guess", data=delivery())
    assert client.post(f"{PATH}/guess", data=delivery()).status_code == 429
    assert client.post(path, data=delivery(), headers=signed(delivery())).get_json() == {"status": "new"}
    query = "hub.mode=subscribe&hub.challenge=a&hub.verify_token=verify-token"
    assert client.get(f"{path}?{query}").get_json() == {"hub.challenge": "a"}
    assert client.get("/health/ready").status_code == 200


def test_the_window_ends() -> None:
    now = 1000.0
    limit = BadRequests(per_minute=3, clock=lambda: now)
    for count in (1, 2, 3):
        assert limit.seconds_left(FORGER) == 0
        assert limit.add(FORGER) == count
    now += 10
    assert limit.seconds_left(FORGER) == WINDOW_SECONDS - 10
    now += WINDOW_SECONDS - 10
    assert limit.seconds_left(FORGER) == 0
    assert limit.add(FORGER) == 1


def test_addresses_of_one_network_are_one_sender() -> None:
    limit = BadRequests(per_minute=2)
    limit.add("2001:db8::1")
    limit.add("2001:db8::ffff:2")
    assert limit.seconds_left("2001:db8::3") > 0
    assert limit.seconds_left("2001:db8:0:1::1") == 0
    assert limit.add("not:an address") == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad_requests, "MOST_ADDRESSES", 100)
    limit = BadRequests(per_minute=2)
    for number in range(1_000):
        limit.add(f"10.0.{number // 250}.{number % 250}")
        # Who goes on is not the one to be forgotten.
        limit.add(FORGER)
    assert len(limit) == 100
    assert limit.seconds_left(FORGER) > 0
