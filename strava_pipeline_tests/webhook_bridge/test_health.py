"""Liveness is the bridge's threads; readiness is the database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema import work_tables
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import an_event, store_event
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.webhook_bridge.answers import refusal
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, RIDER, delivery, signed
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from webhook_bridge import write_probe
from webhook_bridge.app import create_app
from webhook_bridge.current import bridge_of
from webhook_bridge.worker_thread import WorkerThread
from webhook_bridge.write_probe import WriteProbe

OK = {"state": "ok"}
UNREAD = {"state": "warn", "reason": "it was not read within the last minute"}


class Ending(WorkerThread):
    """A thread that ends at once, by itself."""

    def work(self) -> None:
        return


def test_a_bridge_at_work_is_live_and_ready(settings: Settings, engine: Engine) -> None:
    client = create_app(settings, engine).test_client()
    live, ready = client.get("/health/live"), client.get("/health/ready")
    assert (live.status_code, live.text) == (200, "ok\n")
    assert ready.status_code == 200
    parts = {"database": OK, "dispatcher": OK, "inbox": UNREAD, "dagster": UNREAD}
    assert ready.get_json() == {"ready": True} | parts
    assert {answer.headers["Cache-Control"] for answer in (live, ready)} == {"no-store"}


def test_a_bridge_without_its_database_is_live_but_not_ready(settings: Settings) -> None:
    with engine_away() as away:
        client = create_app(settings, away).test_client()
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    told = answer.get_json()
    assert told.pop("id") == answer.headers["X-Request-Id"]
    reason = "it does not store what it is given"
    others = {"dispatcher": OK, "inbox": UNREAD, "dagster": UNREAD}
    assert told == {"ready": False, "database": {"state": "warn", "reason": reason}} | others


def test_a_bridge_one_of_whose_threads_ended_is_to_be_restarted_and_takes_events_until_then(
    settings: Settings, engine: Engine
) -> None:
    thread = Ending("dispatcher")
    client = create_app(settings, engine, threads=[thread]).test_client()
    assert client.get("/health/live").status_code == 200
    thread.start()
    eventually(lambda: thread.has_ended, "the thread's end")
    answer = client.get("/health/live")
    assert (answer.status_code, answer.text) == (503, "ended: dispatcher\n")
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.get_json()["dispatcher"] == {"state": "warn", "reason": "ended: dispatcher"}


def test_all_is_well(settings: Settings, dagster: DagsterStandIn, engine: Engine) -> None:
    app = create_app(load_settings(), engine)
    bridge_of(app).reading.read()
    answer = app.test_client().get("/health/ready")
    assert answer.get_json() == {"ready": True, "database": OK, "dispatcher": OK, "inbox": OK, "dagster": OK}


def test_a_bridge_without_dagster_whose_inbox_is_an_hour_old_is_ready_and_stores_deliveries(
    settings: Settings, rider: None, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://127.0.0.1:{free_port()}")
    store_event(engine, an_event(owner_id=RIDER))
    with engine.begin() as connection:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(webhook_events).values(received_at=hour_ago))
    app = create_app(load_settings(), engine)
    bridge_of(app).reading.read()
    client = app.test_client()
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.get_json() == {
        "ready": True,
        "database": OK,
        "dispatcher": OK,
        "inbox": {"state": "warn", "reason": "an event has been due for more than 10 minutes"},
        "dagster": {"state": "warn", "reason": "it does not answer"},
    }
    assert client.get("/health/live").status_code == 200
    stored = client.post(PATH, data=delivery(), headers=signed(delivery()))
    assert (stored.status_code, stored.get_json()) == (200, {"status": "new"})


def test_neither_asks_dagster_or_the_tables(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings, engine)
    monkeypatch.setattr(bridge_of(app).reading, "read", lambda: 1 // 0)
    for path in ("/health/live", "/health/ready"):
        assert app.test_client().get(path).status_code == 200


def written_at(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.execute(select(work_tables.write_probe.c.at)).scalar_one_or_none()


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
