"""Inbox -> Dagster runs, against a loopback stand-in of Dagster's GraphQL."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine, Row, insert, select, text, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.ops_tables import users, webhook_events
from strava_pipeline.warehouse.webhook_events import NewEvent, Stored, store_event
from webhook_bridge import dispatcher as dispatching
from webhook_bridge.dagster_api import DagsterUnavailable
from webhook_bridge.dispatcher import Dispatcher

RIDERS = (1001, 1002)
PATIENCE_SECONDS = 30
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class DagsterStandIn:
    """Takes launches, or answers with what ``refusal`` holds: a status and a body."""

    launches: list[dict[str, Any]] = field(default_factory=list)
    refusal: tuple[int, bytes] | None = None
    asked: int = 0

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        self.asked += 1
        if self.refusal is not None:
            return self.refusal
        self.launches.append(body["variables"]["params"])
        run = {"__typename": "LaunchRunSuccess", "run": {"id": f"run-{len(self.launches)}"}}
        return 200, json.dumps({"data": {"answer": run}}).encode()

    def claims(self) -> list[int]:
        """Ids of the events in all runs that were launched."""
        configs = [launch["runConfigData"]["ops"]["claimed_events"]["config"] for launch in self.launches]
        return [claim["event_id"] for config in configs for claim in config["claims"]]


@pytest.fixture
def dagster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterStandIn]:
    stand_in = DagsterStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = stand_in.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the signature is http.server's
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://127.0.0.1:{server.server_port}")
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(dispatching, "LONGEST_BACKOFF_SECONDS", 0.02)


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    with engine.begin() as connection:
        values = [{"athlete_id": rider, "scopes": [], "state": "active", "generation": 1} for rider in RIDERS]
        connection.execute(insert(users), values)


def store(engine: Engine, number: int, owner: int = RIDERS[0]) -> None:
    event = NewEvent(
        event_key=f"key-{number}",
        subscription_id=5,
        object_type="activity",
        object_id=number,
        aspect_type="create",
        owner_id=owner,
        event_time=datetime(2025, 6, 1, tzinfo=UTC),
        updates={},
        signed=True,
    )
    assert store_event(engine, event) is Stored.NEW


def rows(engine: Engine) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(select(webhook_events).order_by(webhook_events.c.id)))


def wait_for(found: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not found():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")


def test_what_is_due_is_launched_once_as_one_run(dagster: DagsterStandIn, engine: Engine) -> None:
    for number in (1, 2):
        store(engine, number)
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 2
    assert dispatcher.dispatch_once() == 0
    (launch,) = dagster.launches
    assert launch["selector"]["jobName"] == "webhook_sync"
    tags = {tag["key"]: tag["value"] for tag in launch["executionMetadata"]["tags"]}
    assert tags == {"strava/lane": "live", "dagster/priority": "10", "strava/athlete": "1001"}
    stored = rows(engine)
    assert dagster.claims() == [row.id for row in stored]
    assert [(row.state, row.run_id, row.fence) for row in stored] == [("launched", "run-1", 1)] * 2


def test_a_run_of_several_athletes_names_none(dagster: DagsterStandIn, engine: Engine) -> None:
    for number, rider in enumerate(RIDERS):
        store(engine, number, rider)
    Dispatcher(load_settings(), engine).dispatch_once()
    assert "strava/athlete" not in {tag["key"] for tag in dagster.launches[0]["executionMetadata"]["tags"]}


@pytest.mark.parametrize(
    "refusal",
    [
        (500, b"oops"),
        (200, b"<html>"),
        (200, b'{"data": null}'),
        (200, b'{"data": {"answer": null}}'),
        (200, b'{"errors": [{"message": "no"}]}'),
        (200, b'{"data": {"answer": {"__typename": "RunConfigValidationInvalid"}}}'),
        (200, b'{"data": {"answer": {"__typename": "PythonError", "message": "location is away"}}}'),
    ],
)
def test_a_dagster_that_takes_no_run_costs_the_event_no_attempt(
    dagster: DagsterStandIn, engine: Engine, refusal: tuple[int, bytes]
) -> None:
    store(engine, 1)
    dagster.refusal = refusal
    dispatcher = Dispatcher(load_settings(), engine)
    with pytest.raises(DagsterUnavailable) as caught:
        dispatcher.dispatch_once()
    (row,) = rows(engine)
    assert (row.state, row.attempts, row.error) == ("waiting", 0, str(caught.value))
    with engine.begin() as connection:
        connection.execute(update(webhook_events).values(not_before=LONG_AGO))
    dagster.refusal = None
    assert dispatcher.dispatch_once() == 1
    assert rows(engine)[0].fence == 2


def test_no_dagster_at_all_is_the_same(settings: Settings, engine: Engine) -> None:
    store(engine, 1)
    with pytest.raises(DagsterUnavailable, match="ConnectionError"):
        Dispatcher(settings, engine).dispatch_once()
    (row,) = rows(engine)
    assert (row.state, row.attempts) == ("waiting", 0)


def test_the_pause_doubles_up_to_a_minute_and_starts_over_after_a_success(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, 1)
    dagster.refusal = (500, b"")
    dispatcher = Dispatcher(load_settings(), engine)
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        with engine.begin() as connection:
            (row,) = connection.execute(select(webhook_events).where(webhook_events.c.state == "waiting"))
            assert row.not_before - datetime.now(UTC) <= timedelta(seconds=seconds)
            connection.execute(update(webhook_events).values(not_before=LONG_AGO))
        if len(pauses) == 8:
            dagster.refusal = None
        elif len(pauses) == 9:
            dispatcher._stop.set()
        return dispatcher._stop.is_set()

    def rest(seconds: float) -> bool:
        # Drained: the next event meets a Dagster that is away again.
        if not seconds:
            return False
        dagster.refusal = (500, b"")
        store(engine, 2)
        return True

    monkeypatch.setattr(dispatcher._stop, "wait", pause)
    monkeypatch.setattr(dispatcher._wake, "wait", rest)
    dispatcher._run()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1]


def test_a_running_dispatcher_takes_events_up_as_they_come(dagster: DagsterStandIn, engine: Engine) -> None:
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.start()
    for number in (1, 2, 3):
        store(engine, number)
        dispatcher.wake()
        wait_for(lambda: len(dagster.claims()) == number, f"event {number} in a run")  # noqa: B023  called at once
    dispatcher.stop()
    assert not dispatcher.is_running


def test_several_dispatchers_launch_each_event_once(dagster: DagsterStandIn, engine: Engine, quick: None) -> None:
    dispatchers = [Dispatcher(load_settings(), engine) for _ in range(3)]
    for dispatcher in dispatchers:
        dispatcher.start()
    for number in range(60):
        store(engine, number)
        dispatchers[number % 3].wake()
    wait_for(lambda: len(dagster.claims()) >= 60, "sixty events in runs")
    for dispatcher in dispatchers:
        dispatcher.stop()
    assert sorted(dagster.claims()) == [row.id for row in rows(engine)]


def test_a_dispatcher_survives_a_database_and_a_dagster_in_trouble(
    dagster: DagsterStandIn, engine: Engine, quick: None
) -> None:
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.start()
    dagster.refusal = (502, b"")
    store(engine, 1)
    dispatcher.wake()
    wait_for(lambda: dagster.asked > 1, "a second try at Dagster")
    # A statement that fails, not a connection: what a half-done migration looks like.
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE ops.webhook_events RENAME COLUMN fence TO gone"))
    seen = dagster.asked
    dagster.refusal = None
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    dispatcher.wake()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE ops.webhook_events RENAME COLUMN gone TO fence"))
        # The claim may have been lost with the database: then its lease has to run out.
        connection.execute(update(webhook_events).values(not_before=LONG_AGO, lease_until=LONG_AGO))
    wait_for(lambda: bool(dagster.launches), f"a launch after {seen} tries")
    assert dispatcher.is_running
    dispatcher.stop()
    assert dagster.claims() == [rows(engine)[0].id]


def test_a_dispatcher_that_ends_for_a_bug_says_so(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = Dispatcher(settings, engine)
    monkeypatch.setattr(dispatcher, "dispatch_once", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        dispatcher._run()
    assert "the dispatcher ends: restart the bridge" in caplog.text
    assert not dispatcher.is_running
