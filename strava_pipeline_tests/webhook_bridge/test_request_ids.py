"""Each request has a number, in its log lines and in its answer; what comes from outside is not believed."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
import requests
from flask import Flask, Response, request
from sqlalchemy import Engine, select

from strava_pipeline.home import settings_file
from strava_pipeline.log_lines import TextLines
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.logged import logged
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed
from webhook_bridge.app import create_app
from webhook_bridge.request_ids import HEADER

GIVEN = "proxy-4711.abc_DEF"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged from now on, as the bridge writes it."""
    written: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(TextLines())
    handler.emit = lambda record: written.append(handler.format(record))  # type: ignore[method-assign]  # a stand-in
    logger = logging.getLogger("webhook_bridge")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_every_line_of_a_request_carries_its_number(
    settings: Settings, engine: Engine, rider: None, lines: list[str]
) -> None:
    client = create_app(settings, engine).test_client()
    numbers = []
    for headers in (signed(delivery()), signed(delivery(), secret="guess"), {}):
        lines.clear()
        answer = client.post(PATH, data=delivery(), headers=headers)
        numbers.append(answer.headers[HEADER])
        assert lines
        assert all(f"[request={numbers[-1]}" in line for line in lines)
    assert len(set(numbers)) == 3
    lines.clear()
    logging.getLogger("webhook_bridge").warning("between requests")
    assert "request=" not in lines[0]


def app_behind(proxies: int, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Flask:
    monkeypatch.setenv("STRAVA_TRUSTED_PROXIES", str(proxies))
    app = create_app(load_settings(), engine)
    app.add_url_rule("/seen", view_func=lambda: Response(f"{request.remote_addr} {request.scheme} {request.host}"))
    return app


FORWARDED = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"}


def test_a_number_from_outside_is_taken_over_from_a_configured_proxy_only(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine
) -> None:
    for proxies, taken in ((0, False), (1, True)):
        client = app_behind(proxies, monkeypatch, engine).test_client()
        assert (client.get("/seen", headers={HEADER: GIVEN}).headers[HEADER] == GIVEN) is taken
        for odd in ("short", "x" * 65, "line end", "töken-töken", "<script>alert(1)", ""):
            number = client.get("/seen", headers={HEADER: odd}).headers[HEADER]
            assert re.fullmatch("[0-9a-f]{16}", number)


@pytest.mark.parametrize(
    ("proxies", "seen"),
    [(0, "127.0.0.1 http localhost"), (1, "203.0.113.9 https localhost"), (2, "198.51.100.1 http localhost")],
)
def test_forwarded_addresses_count_only_behind_as_many_proxies_as_configured(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine, proxies: int, seen: str
) -> None:
    answer = app_behind(proxies, monkeypatch, engine).test_client().get("/seen", headers=FORWARDED)
    assert answer.text == seen
    assert ("Strict-Transport-Security" in answer.headers) is ("https" in seen)


def test_a_page_may_set_its_own_content_policy(settings: Settings, engine: Engine) -> None:
    app = create_app(settings, engine)
    own = {"Content-Security-Policy": "default-src 'self'"}
    app.add_url_rule("/own", view_func=lambda: Response("page", headers=own))
    headers = app.test_client().get("/own").headers
    assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(("level", "shown"), [("debug", ["INFO", "WARNING"]), ("WARNING", ["WARNING"])])
def test_lines_from_whichever_level_on_carry_their_numbers(
    settings: Settings, rider: None, level: str, shown: list[str]
) -> None:
    settings.home.mkdir(mode=0o700)
    settings_file(settings.home).write_text(f"STRAVA_LOG_LEVEL={level}\n", encoding="utf-8")
    settings_file(settings.home).chmod(0o600)
    with subprocess.Popen(
        PATIENT_BRIDGE, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = f"{process.stdout.readline().rpartition(' ')[2].strip()}{PATH}"
        answers = [
            requests.post(url, data=delivery(), headers=headers, timeout=PATIENCE_SECONDS)
            for headers in (signed(delivery()), signed(delivery(), secret="guess"))
        ]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert [answer.status_code for answer in answers] == [200, 401]
    # None is written in another form, or twice.
    found = re.findall(r"^\S+ \S+ ([A-Z]+) webhook_bridge\.\w+: .* \[request=([0-9a-f]{16})\b", log, re.MULTILINE)
    numbers = dict(zip(("INFO", "WARNING"), (answer.headers[HEADER] for answer in answers), strict=True))
    assert found == [(name, numbers[name]) for name in shown], log
    assert all(re.match(r"\S+ \S+ [A-Z]+ [\w.]+: |    ", line) for line in log.splitlines()), log


def test_the_line_of_a_delivery_names_request_event_and_activity_and_that_of_its_repetition_the_same(
    settings: Settings, engine: Engine, rider: None
) -> None:
    client = create_app(settings, engine).test_client()
    with logged("webhook_bridge") as lines:
        numbers = [client.post(PATH, data=delivery(), headers=signed(delivery())).headers[HEADER] for _ in range(2)]
    with engine.connect() as connection:
        stored = connection.execute(select(webhook_events)).one()
    assert [line["request_id"] for line in lines] == numbers
    assert [line["message"].rpartition(": ")[2] for line in lines] == ["new", "duplicate"]
    for line in lines:
        ids = (line["event_id"], line["athlete_id"], line["activity_id"])
        assert ids == (stored.id, stored.owner_id, stored.object_id)
