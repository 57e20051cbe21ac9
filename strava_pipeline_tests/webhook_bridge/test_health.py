"""Liveness is the process alone; readiness is the database and the dispatcher as well."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

import pytest
from sqlalchemy import Engine, make_url, select
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema import ops_tables as schema
from strava_pipeline_tests.webhook_bridge.answers import refusal
from webhook_bridge import write_probe
from webhook_bridge.app import create_app
from webhook_bridge.write_probe import WriteProbe


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


def written_at(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.execute(select(schema.write_probe.c.at)).scalar_one_or_none()


def test_readiness_is_a_write_that_is_kept(settings: Settings, engine: Engine) -> None:
    assert written_at(engine) is None
    client = create_app(settings, engine).test_client()
    assert client.get("/health/ready").status_code == 200
    first = written_at(engine)
    assert first is not None
    # Nobody can load the database by asking.
    assert client.get("/health/ready").status_code == 200
    assert written_at(engine) == first


def test_readiness_is_asked_anew_after_a_second(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_probe, "KEPT_SECONDS", 0.0)
    probe = WriteProbe(engine)
    probe.check()
    first = written_at(engine)
    probe.check()
    assert written_at(engine) != first


def test_a_refused_write_is_told_to_all_who_ask_within_a_second(engine: Engine) -> None:
    tries = []

    def refuse(_: Engine) -> None:
        tries.append(1)
        raise DatabaseUnavailable("it accepts no writes")

    probe = WriteProbe(engine, refuse)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable, match="it accepts no writes"):
            probe.check()
    assert len(tries) == 1


def test_a_write_that_hangs_holds_up_one_caller_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_probe, "LONGEST_SECONDS", 0.1)
    begun, answered = threading.Event(), threading.Event()

    def hang(_: Engine) -> None:
        begun.set()
        answered.wait()

    probe = WriteProbe(engine, hang)
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(probe.check)
        begun.wait()
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable, match="has not stored"):
                probe.check()
        answered.set()
        assert waiting.result() is None
    probe.check()


def test_a_write_that_another_has_yet_to_begin_is_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_probe, "LOOK_SECONDS", 0.001)
    probe = WriteProbe(engine)
    with ThreadPoolExecutor(1) as other:
        with probe._under_way:
            # The last write was long ago, and the one of now is not begun.
            waiting = other.submit(probe.check)
            with pytest.raises(FutureTimeout):
                waiting.result(timeout=0.05)
        assert waiting.result() is None


def test_a_request_that_gets_no_connection_is_answered_503(settings: Settings, engine: Engine) -> None:
    app = create_app(settings, engine)

    def no_connection() -> str:
        raise PoolTimeout("QueuePool limit of size 5 overflow 10 reached")

    app.add_url_rule("/webhooks/busy", view_func=no_connection)
    assert refusal(app.test_client().get("/webhooks/busy")) == (503, "unavailable")
