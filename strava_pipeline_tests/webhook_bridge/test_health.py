"""Liveness is the process alone; readiness is the database and the dispatcher as well."""

from __future__ import annotations

import socket

import pytest
from sqlalchemy import Engine, make_url

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.webhook_bridge.answers import refusal
from webhook_bridge.app import create_app


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_bridge_at_work_is_live_and_ready(settings: Settings, engine: Engine, path: str) -> None:
    answer = create_app(settings, engine).test_client().get(path)
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_bridge_without_its_database_is_live_but_not_ready(settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = open_engine(make_url(f"postgresql+psycopg://me:hunter2@127.0.0.1:{closed.getsockname()[1]}/x"))
        client = create_app(settings, away).test_client()
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
    assert refusal(answer) == (503, "unavailable")


def test_a_bridge_whose_dispatcher_ended_is_not_ready(settings: Settings, engine: Engine) -> None:
    client = create_app(settings, engine, dispatcher_is_running=lambda: False).test_client()
    answer = client.get("/health/ready")
    assert refusal(answer) == (503, "dispatcher ended")
    assert client.get("/health/live").status_code == 200
