"""Who sends bad requests is slowed down; who sends good ones never is, whoever shares the address."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, func, select
from werkzeug.test import TestResponse

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.web.operator_door import session_proof
from strava_pipeline_tests.conftest import OPERATOR_TOKEN
from strava_pipeline_tests.webhook_bridge.answers import refusal
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed
from webhook_bridge import bad_requests
from webhook_bridge.app import create_app
from webhook_bridge.bad_requests import PER_MINUTE, WINDOW_SECONDS, BadRequests

FORGER, OTHER = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def app(settings: Settings, engine: Engine, rider: None) -> Flask:
    return create_app(settings, engine)


def client_at(app: Flask, address: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


class Proxied(Browser):
    """Reaches the app by a proxy on its own machine that is counted, and that tells where a request comes from."""

    def __init__(self, app: Flask, told: str) -> None:
        super().__init__(app)
        self.told = told

    def _open(self, method: str, path: str, headers: dict[str, str], form: Any = None) -> TestResponse:
        return super()._open(method, path, headers | {"X-Forwarded-For": f"10.9.8.7, {self.told}"}, form)


def guess(browser: Browser, *tokens: str) -> list[int]:
    """What the login form answers to each."""
    csrf = csrf_in(browser.get("/login"))
    return [browser.post("/login", {"csrf": csrf, "token": token}).status_code for token in tokens]


def audited(engine: Engine) -> int:
    """How many actions the audit holds."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(operator_audit)).scalar_one()


def forge(client: FlaskClient, times: int) -> list[int]:
    headers = signed(delivery(), secret="guess")
    return [client.post(PATH, data=delivery(), headers=headers).status_code for _ in range(times)]


def test_a_forger_gets_no_more_than_so_many_answers_a_minute(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    forger = client_at(app, FORGER)
    assert forge(forger, PER_MINUTE + 5) == [401] * PER_MINUTE + [429] * 5
    # What comes after fills no log.
    assert sum("delivery rejected" in record.getMessage() for record in caplog.records) == PER_MINUTE
    answer = forger.post(PATH, data=delivery(), headers=signed(delivery(), secret="guess"))
    assert refusal(answer) == (429, "too many bad requests")
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_SECONDS
    assert forge(client_at(app, OTHER), 1) == [401]


@pytest.mark.parametrize("address", [FORGER, "127.0.0.1"])
def test_broken_images_and_forged_deliveries_close_no_page(app: Flask, address: str) -> None:
    operator = Browser(app, address=address).logged_in()
    stranger = Browser(app, address=address)
    for number in range(PER_MINUTE + 5):
        for path in (
            f"/image-{number}.png",
            "/webhooks/strava/image.png",
            "/oauth/callback",
            "/connect",
            "/login/once/x",
        ):
            assert stranger.get(path, Sec_Fetch_Site="cross-site").status_code >= 400
        assert stranger.post("/login", {"token": "x"}, Origin="https://evil.example").status_code == 403
    assert forge(client_at(app, address), 1) == [429]
    assert operator.get("/").status_code == 200
    assert operator.submit("/", "/dead-letters/replay").status_code == 303
    assert operator.get("/static/pages.css").status_code == 200
    # Nor is anybody kept from logging in.
    assert guess(stranger, OPERATOR_TOKEN) == [303]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "127.8.8.8", "::ffff:127.0.0.1", "::", "localhost", "?" * 5000]
)
def test_where_nobody_knows_who_guesses_the_right_token_passes(
    app: Flask, engine: Engine, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    stranger, operator = Browser(app, address=address), Browser(app, address=address)
    assert guess(stranger, *map(str, range(PER_MINUTE + 20))) == [401] * PER_MINUTE + [429] * 20
    # Guesses beyond the limit fill neither log nor audit.
    assert audited(engine) == PER_MINUTE
    assert sum("wrong operator's token" in record.getMessage() for record in caplog.records) == PER_MINUTE
    assert max(len(record.getMessage()) for record in caplog.records) < 1000
    assert guess(operator, OPERATOR_TOKEN) == [303]
    assert operator.get("/").status_code == 200


def test_guesses_from_many_addresses_fill_neither_audit_nor_log(
    app: Flask, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    for host in range(PER_MINUTE + 20):
        assert guess(Browser(app, address=f"2001:db8:0:{host:x}::1"), "wrong") == [401]
    assert audited(engine) == PER_MINUTE
    assert sum("wrong operator's token" in record.getMessage() for record in caplog.records) == PER_MINUTE
    # The right one is noted all the same.
    assert guess(Browser(app, address="2001:db8:1::1"), OPERATOR_TOKEN) == [303]
    assert audited(engine) == PER_MINUTE + 1


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_where_the_address_is_known_guessing_ends_for_it_alone(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, proxies: str
) -> None:
    monkeypatch.setenv("STRAVA_TRUSTED_PROXIES", proxies)
    app = create_app(load_settings(), engine)

    def at(address: str) -> Browser:
        return Browser(app, address=address) if proxies == "0" else Proxied(app, told=address)

    guesser, neighbour = at(FORGER), at(OTHER)
    operator = at(FORGER).logged_in()
    assert guess(guesser, *map(str, range(PER_MINUTE + 2)))[PER_MINUTE:] == [429] * 2
    csrf = csrf_in(guesser.get("/login"))
    answer = guesser.post("/login", {"csrf": csrf, "token": OPERATOR_TOKEN})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_SECONDS
    assert "strava-pipeline login-link" in words_of(answer)
    assert guess(neighbour, OPERATOR_TOKEN) == [303]
    # Of the same address: who is logged in, and who holds a link.
    assert operator.get("/").status_code == 200
    with engine.begin() as connection:
        link = new_sign_in_link(connection, session_proof(load_settings()))
    assert guesser.press(f"/login/once/{link}").status_code == 303


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
