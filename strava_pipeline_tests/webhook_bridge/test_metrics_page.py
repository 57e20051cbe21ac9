"""Metrics are for whoever has their token, or reaches a port of their own; the token opens nothing else."""

from __future__ import annotations

import subprocess
from contextlib import closing
from http.client import HTTPConnection

import pytest
import requests
from flask import Flask
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline_tests.conftest import OPERATOR_TOKEN
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.webhook_bridge.answers import refusal
from strava_pipeline_tests.webhook_bridge.browser import Browser
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from strava_pipeline_tests.webhook_bridge.samples import samples_of
from webhook_bridge.app import create_app
from webhook_bridge.bad_requests import PER_MINUTE
from webhook_bridge.current import bridge_of
from webhook_bridge.metrics import metrics_registry
from webhook_bridge.metrics_page import create_metrics_app

TOKEN = "metrics-token-of-a-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STRANGER = "203.0.113.7"


@pytest.fixture
def browser(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setenv("STRAVA_METRICS_TOKEN", TOKEN)
    return Browser(create_app(load_settings(), engine))


def own_port_app(engine: Engine) -> Flask:
    settings = load_settings()
    return create_metrics_app(metrics_registry(bridge_of(create_app(settings, engine))), settings)


def test_the_token_opens_it_by_any_name_from_anywhere(browser: Browser) -> None:
    browser.address = STRANGER
    for host in ("127.0.0.1", "bridge.monitoring.example:8080"):
        browser.host = host
        answer = browser.get("/metrics", **BEARER)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert samples_of(answer.text)["deliveries_received_total"] == 0
    assert browser.get("/metrics", Authorization=f"bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {OPERATOR_TOKEN}",
        "Bearer é",
    ],
)
def test_nothing_else_opens_it(browser: Browser, authorization: str) -> None:
    answer = browser.get("/metrics", **({"Authorization": authorization} if authorization else {}))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "strava_pipeline_" not in answer.text


def test_neither_a_session_nor_a_query_opens_it(browser: Browser) -> None:
    assert browser.logged_in().get("/metrics").status_code == 401
    assert browser.get(f"/metrics?token={TOKEN}&access_token={TOKEN}").status_code == 401


def test_the_token_opens_nothing_else(browser: Browser) -> None:
    assert browser.get("/", **BEARER).headers["Location"] == "/login"
    assert browser.post("/logout/everywhere", None, **BEARER).status_code == 403
    assert browser.submit("/login", "/login", {"token": TOKEN}).status_code == 401


def test_without_token_and_port_there_is_no_such_page(settings: Settings, engine: Engine) -> None:
    client = create_app(settings, engine).test_client()
    unknown = client.get("/nowhere")
    answer = client.get("/metrics", headers=BEARER)
    assert refusal(answer) == refusal(unknown) == (404, "not found")


def test_a_port_of_its_own_leaves_the_bridge_without_such_a_page(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_METRICS_PORT", "9464")
    assert create_app(load_settings(), engine).test_client().get("/metrics").status_code == 404


def test_wrong_tokens_are_limited_where_the_address_is_known(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    browser.address = STRANGER
    wrong = {"Authorization": "Bearer a-wrong-token-of-a-test"}
    assert {browser.get("/metrics", **wrong).status_code for _ in range(PER_MINUTE)} == {401}
    answer = browser.get("/metrics", **BEARER)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    browser.address = "203.0.113.8"
    assert browser.get("/metrics", **BEARER).status_code == 200
    # It is not the operator's login that they close.
    browser.address = STRANGER
    assert browser.submit("/login", "/login", {"token": OPERATOR_TOKEN}).status_code == 303
    assert TOKEN not in caplog.text
    assert "a-wrong-token" not in caplog.text


def test_guesses_fill_no_log_and_keep_no_scraper_of_this_machine_out(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    statuses = [browser.get("/metrics").status_code for _ in range(PER_MINUTE + 5)]
    assert statuses == [401] * PER_MINUTE + [429] * 5
    assert browser.get("/metrics", **BEARER).status_code == 200
    assert caplog.text.count("/metrics was asked for without the token by 127.0.0.1") == PER_MINUTE


def test_openmetrics_is_told_to_whoever_asks_for_it(browser: Browser) -> None:
    wanted = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = browser.get("/metrics", Accept=wanted, **BEARER)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert answer.text.endswith("# EOF\n")
    families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]  # the library's
    assert "strava_pipeline_deliveries_received" in {family.name for family in families}
    odd = browser.get("/metrics", Accept="application/openmetrics-text;version=none", **BEARER)
    assert odd.text == answer.text


def test_it_is_told_while_the_database_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_METRICS_TOKEN", TOKEN)
    with engine_away() as away:
        app = create_app(load_settings(), away)
        bridge_of(app).reading.read()
        answer = app.test_client().get("/metrics", headers=BEARER)
    assert answer.status_code == 200
    assert samples_of(answer.text)["database_up"] == 0


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:9464", 200), ("localhost", 200), ("[::1]:9464", 200), ("bridge.example", 200),
    ("evil.example", 403), ("evil.example:9464", 403), ("127.0.0.1.evil.example", 403),
])  # fmt: skip
def test_on_loopback_a_port_of_its_own_answers_under_our_names_only(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, host: str, status: int
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_HOSTS", "bridge.example")
    answer = Browser(own_port_app(engine), host=host).get("/metrics")
    assert answer.status_code == status
    assert ("strava_pipeline_" in answer.text) == (status == 200)


def test_on_a_network_a_port_of_its_own_answers_under_any_name(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_METRICS_HOST", "0.0.0.0")  # noqa: S104  nothing listens in this test
    assert Browser(own_port_app(engine), host="bridge-0.monitoring").get("/metrics").status_code == 200


def test_a_port_of_its_own_has_nothing_else(settings: Settings, engine: Engine) -> None:
    browser = Browser(own_port_app(engine))
    for path in ("/", "/login", "/webhooks/strava", "/health/live", "/metrics/", "/static/pages.css"):
        assert browser.get(path).status_code == 404
    assert browser.post("/metrics").status_code == 405


@pytest.fixture
def metrics_port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setenv("STRAVA_METRICS_PORT", str(port))
    return port


def test_the_served_bridge_tells_them_on_a_port_of_its_own_until_it_ends(
    metrics_port: int, bridge: tuple[subprocess.Popen[str], int]
) -> None:
    process, port = bridge
    url = f"http://127.0.0.1:{metrics_port}/metrics"

    def scraped() -> dict[str, float]:
        return samples_of(requests.get(url, timeout=PATIENCE_SECONDS).text)

    requests.post(f"http://127.0.0.1:{port}/webhooks/strava", data=b"{}", timeout=PATIENCE_SECONDS)
    found = eventually(lambda: found if "database_up" in (found := scraped()) else None, "a first reading")
    assert found is not None
    assert (found["database_up"], found["dagster_reachable"]) == (1, 0)
    assert found["deliveries_rejected_total{reason=signature_missing}"] == 1
    running = {name: value for name, value in found.items() if name.startswith("thread_running")}
    assert set(running.values()) == {1}
    assert {f"thread_running{{thread={name}}}" for name in ("dispatcher", "delivery-counting")} <= set(running)
    assert requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS).status_code == 404
    # A connection that is left open does not hold up the end.
    with closing(HTTPConnection("127.0.0.1", metrics_port, timeout=PATIENCE_SECONDS)) as idle:
        idle.request("GET", "/metrics")
        idle.getresponse().read()
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=PATIENCE_SECONDS)
