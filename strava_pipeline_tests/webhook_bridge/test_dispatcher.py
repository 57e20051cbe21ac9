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
from sqlalchemy import Engine, select, text, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.outage import ANSWERED, Outage, Service
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.launches import TAKE_UP_SECONDS
from strava_pipeline.warehouse.inbox.claims import ALONE_AFTER_LOST_RUNS, MOST_LOST_RUNS, begin_run
from strava_pipeline.warehouse.inbox.events import add_events
from strava_pipeline.warehouse.quota.app_status import note_active, note_inactive
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline.warehouse.schema.ops_tables import webhook_events
from strava_pipeline.warehouse.states import EventSource
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import LONG_AGO, an_event, change, connect_riders, rows, states, store
from strava_pipeline_tests.warehouse.sessions import end_sessions
from webhook_bridge import dispatcher as dispatching
from webhook_bridge.dagster_api import DagsterUnavailable
from webhook_bridge.dispatcher import Dispatcher

RIDERS = (1001, 1002)


@dataclass
class DagsterStandIn:
    """Takes launches, or answers with what ``refusal`` holds: a status and a body."""

    launches: list[dict[str, Any]] = field(default_factory=list)
    refusal: tuple[int, bytes] | None = None
    # What became of runs, when asked for them.
    runs: dict[str, str] = field(default_factory=dict)
    # When they began (epoch, s).
    began: float | None = None
    asked: int = 0
    # What happens while an answer is being made.
    meanwhile: Callable[[], None] = lambda: None

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        self.asked += 1
        self.meanwhile()
        if self.refusal is not None:
            return self.refusal
        if "runIds" in body["variables"]["params"]:
            names = body["variables"]["params"]["runIds"]
            found = [{"runId": name, "status": self.runs[name], "startTime": self.began} for name in names]
            return 200, json.dumps({"data": {"answer": {"__typename": "Runs", "results": found}}}).encode()
        self.launches.append(body["variables"]["params"])
        run = {"__typename": "LaunchRunSuccess", "run": {"id": f"run-{len(self.launches)}"}}
        return 200, json.dumps({"data": {"answer": run}}).encode()

    def fences(self) -> list[int]:
        """The claims in all runs that were launched."""
        configs = [launch["runConfigData"]["ops"]["claimed_objects"]["config"] for launch in self.launches]
        return [fence for config in configs for fence in config["fences"]]

    def tags(self) -> dict[str, str]:
        """The tags of the last run."""
        return {tag["key"]: tag["value"] for tag in self.launches[-1]["executionMetadata"]["tags"]}


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
    connect_riders(engine, *RIDERS)


def test_objects_whose_runs_got_lost_get_runs_of_their_own(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2, 3, 4)
    change(engine, [rows(engine)[place].id for place in (1, 2)], lost_runs=ALONE_AFTER_LOST_RUNS)
    assert Dispatcher(load_settings(), engine).dispatch_once() == 4
    assert [
        len(launch["runConfigData"]["ops"]["claimed_objects"]["config"]["fences"]) for launch in dagster.launches
    ] == [2, 1, 1]
    assert [stored.run_id for stored in rows(engine)] == ["run-1", "run-2", "run-3", "run-1"]


def test_what_takes_down_every_run_becomes_a_dead_letter(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2)
    change(engine, [rows(engine)[0].id], lost_runs=MOST_LOST_RUNS)
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 2
    assert states(engine) == ["dead", "launched"]
    letter = rows(engine)[0]
    assert (letter.error_class, letter.error_kind) == ("transient", "RunLost")
    assert len(dagster.launches) == 1
    # Tried again later, once.
    change(engine, [letter.id], redrive_at=LONG_AGO)
    assert dispatcher.dispatch_once() == 1
    assert states(engine) == ["launched", "launched"]


def test_what_is_due_is_launched_once_as_one_run(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2, 1)
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 2
    assert dispatcher.dispatch_once() == 0
    (launch,) = dagster.launches
    assert launch["selector"]["jobName"] == "webhook_sync"
    stored = rows(engine)
    assert {row.fence for row in stored} == set(dagster.fences())
    assert stored[0].fence == stored[2].fence
    assert [(row.state, row.run_id) for row in stored] == [("launched", "run-1")] * 3


def test_a_run_is_tagged_with_what_all_of_its_objects_share(dagster: DagsterStandIn, engine: Engine) -> None:
    dispatcher = Dispatcher(load_settings(), engine)
    always = {"strava/lane": "live", "dagster/priority": "10"}
    store(engine, 1)
    dispatcher.dispatch_once()
    of_one = {"strava/athlete": "1001", "strava/object": "activity:1", "strava/aspect": "create"}
    assert dagster.tags() == always | of_one
    store(engine, 2, 3)
    dispatcher.dispatch_once()
    assert dagster.tags() == always | {"strava/athlete": "1001", "strava/aspect": "create"}
    store(engine, 4)
    store(engine, 5, owner_id=RIDERS[1], aspect_type="delete")
    dispatcher.dispatch_once()
    assert dagster.tags() == always


def test_what_upkeep_found_gets_a_run_of_its_own_in_its_lane(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2, source=EventSource.RECONCILE, signed=False)
    store(engine, 3)
    assert Dispatcher(load_settings(), engine).dispatch_once() == 3
    assert [stored.run_id for stored in rows(engine)] == ["run-2", "run-2", "run-1"]
    always = {"strava/lane": "reconcile", "dagster/priority": "0"}
    assert dagster.tags() == always | {"strava/athlete": "1001", "strava/aspect": "create"}


def test_a_run_that_waits_in_the_queue_keeps_its_claims(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1)
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.dispatch_once()
    change(engine, lease_until=LONG_AGO)
    dagster.runs = {"run-1": "QUEUED"}
    dispatcher.look_after_launches()
    assert dispatcher.dispatch_once() == 0


def test_a_run_that_died_before_it_took_up_its_claims_is_not_waited_for(
    dagster: DagsterStandIn, engine: Engine
) -> None:
    """Nobody tells Dagster of its end if its code server died as well."""
    store(engine, 1)
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.dispatch_once()
    fence = rows(engine)[0].fence
    dagster.runs = {"run-1": "STARTED"}
    for began, launched in ((-TAKE_UP_SECONDS / 2, 0), (-TAKE_UP_SECONDS, 1)):
        dagster.began = time.time() + began
        change(engine, lease_until=datetime.now(UTC) + timedelta(seconds=10))
        dispatcher.look_after_launches()
        assert dispatcher.dispatch_once() == launched
    # One that lives after all finds nothing to do.
    assert begin_run(engine, [fence], "run-1") == []
    assert [(event.state, event.run_id) for event in rows(engine)] == [("launched", "run-2")]


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED", "SUCCESS"])
def test_a_run_that_ended_before_it_began_is_launched_again(
    dagster: DagsterStandIn, engine: Engine, status: str
) -> None:
    store(engine, 1)
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.dispatch_once()
    soon = datetime.now(UTC) + timedelta(seconds=10)
    change(engine, lease_until=soon)
    dagster.runs = {"run-1": status}
    dispatcher.look_after_launches()
    assert dispatcher.dispatch_once() == 1
    assert len(dagster.launches) == 2


def test_runs_that_never_begin_are_launched_again_with_growing_pauses(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1)
    dispatcher = Dispatcher(load_settings(), engine)
    pauses = []
    for number in range(1, 8):
        change(engine, not_before=None, state="received")
        assert dispatcher.dispatch_once() == 1
        change(engine, lease_until=datetime.now(UTC) + timedelta(seconds=10))
        dagster.runs[f"run-{number}"] = "FAILURE"
        dispatcher.look_after_launches()
        (event,) = rows(engine)
        assert (event.state, event.waiting_for, event.lost_runs) == ("waiting", "dagster", 0)
        pauses.append(round((event.not_before - datetime.now(UTC)) / timedelta(minutes=1)))
    assert pauses == [0, 1, 2, 4, 8, 10, 10]


def test_a_database_that_starts_anew_during_a_launch_keeps_no_event_waiting(
    dagster: DagsterStandIn, engine: Engine
) -> None:
    store(engine, 1, 2)
    change(engine, lost_runs=ALONE_AFTER_LOST_RUNS)
    dagster.meanwhile = lambda: end_sessions(engine)
    assert Dispatcher(load_settings(), engine).dispatch_once() == 2
    assert {row.run_id for row in rows(engine)} == {"run-1", "run-2"}


def test_a_database_that_starts_anew_while_dagster_refuses_has_its_claims_back(
    dagster: DagsterStandIn, engine: Engine
) -> None:
    store(engine, 1)
    dagster.refusal = (503, b"")
    dagster.meanwhile = lambda: end_sessions(engine)
    with pytest.raises(DagsterUnavailable):
        Dispatcher(load_settings(), engine).dispatch_once()
    assert states(engine) == ["waiting"]


def test_dead_letters_whose_time_has_come_are_launched_again(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2)
    change(engine, state="dead", error_class="transient", redrive_at=datetime.now(UTC) + timedelta(hours=1))
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 0
    change(engine, [rows(engine)[0].id], redrive_at=LONG_AGO)
    assert dispatcher.dispatch_once() == 1
    assert states(engine) == ["launched", "dead"]


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
    change(engine, not_before=LONG_AGO)
    dagster.refusal = None
    assert dispatcher.dispatch_once() == 1
    assert states(engine) == ["launched"]


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
        eventually(lambda: len(dagster.fences()) == number, f"event {number} in a run")  # noqa: B023  called at once
    dispatcher.stop()
    assert not dispatcher.is_running


def test_several_dispatchers_launch_each_event_once(dagster: DagsterStandIn, engine: Engine, quick: None) -> None:
    dispatchers = [Dispatcher(load_settings(), engine) for _ in range(3)]
    for dispatcher in dispatchers:
        dispatcher.start()
    for number in range(60):
        store(engine, number)
        dispatchers[number % 3].wake()
    eventually(lambda: len(dagster.fences()) >= 60, "sixty objects in runs")
    for dispatcher in dispatchers:
        dispatcher.stop()
    assert sorted(dagster.fences()) == sorted(row.fence for row in rows(engine))


def test_a_dispatcher_survives_a_database_and_a_dagster_in_trouble(
    dagster: DagsterStandIn, engine: Engine, owner_engine: Engine, quick: None
) -> None:
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.start()
    dagster.refusal = (502, b"")
    store(engine, 1)
    dispatcher.wake()
    eventually(lambda: dagster.asked > 1, "a second try at Dagster")
    # A statement that fails, not a connection: what a half-done migration looks like.
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE ops.webhook_events RENAME COLUMN fence TO gone"))
    seen = dagster.asked
    dagster.refusal = None
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
            )
        )
    dispatcher.wake()
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE ops.webhook_events RENAME COLUMN gone TO fence"))
        # The claim may have been lost with the database: then its lease has to run out.
        connection.execute(update(webhook_events).values(not_before=LONG_AGO, lease_until=LONG_AGO))
    eventually(lambda: bool(dagster.launches), f"a launch after {seen} tries")
    assert dispatcher.is_running
    dispatcher.stop()
    # A run that was launched just before the lease ran out has an older fence, which is refused.
    assert dagster.fences()[-1] == rows(engine)[0].fence


def test_a_dispatcher_that_ends_for_a_bug_says_so(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = Dispatcher(settings, engine)
    monkeypatch.setattr(dispatcher, "dispatch_once", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        dispatcher._run()
    assert "the dispatcher ended by an error: restart the bridge" in caplog.text
    assert not dispatcher.is_running


def test_what_another_process_puts_into_the_inbox_is_taken_up_without_polling(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "POLL_SECONDS", 3600)
    dispatcher = Dispatcher(load_settings(), engine)
    dispatcher.start()
    for number in (1, 2):
        with engine.begin() as connection:
            add_events(connection, [an_event(number, source=EventSource.RECONCILE)])
        eventually(lambda: len(dagster.fences()) == number, f"event {number} in a run")  # noqa: B023  called at once
    dispatcher.stop()


def strava_is_away(engine: Engine, probe_in: timedelta) -> None:
    """Since an hour ago; the next call may try after ``probe_in``, or so long ago if that is negative."""
    with engine.begin() as connection:
        moment = now(connection)
        since = moment - timedelta(hours=1)
        state = Outage(9, since, several=True, hosts=("a",), away_since=since, probe_at=moment + probe_in)
        store_outage(connection, Service.API, state)


def strava_answers(engine: Engine) -> None:
    with engine.begin() as connection:
        store_outage(connection, Service.API, ANSWERED)


@pytest.mark.parametrize("probe_in_s", [200, 0, -20])
def test_nothing_is_launched_while_strava_is_away_and_runs_may_find_out(
    dagster: DagsterStandIn, engine: Engine, probe_in_s: int
) -> None:
    store(engine, 1)
    strava_is_away(engine, timedelta(seconds=probe_in_s))
    assert Dispatcher(load_settings(), engine).dispatch_once() == 0
    assert (dagster.launches, states(engine)) == ([], ["received"])


def test_one_object_tries_when_no_run_does(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2, 3)
    strava_is_away(engine, -timedelta(seconds=40))
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 1
    assert dispatcher.dispatch_once() == 0, "the first one is still at it"
    assert len(dagster.fences()) == 1
    change(engine, [rows(engine)[0].id], lease_until=LONG_AGO)
    assert dispatcher.dispatch_once() == 1, "its run died"


def test_a_clock_that_was_set_back_keeps_nobody_waiting(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1)
    strava_is_away(engine, timedelta(hours=5))
    assert Dispatcher(load_settings(), engine).dispatch_once() == 1


def test_events_go_on_when_the_outage_is_over_and_not_at_their_old_time(
    dagster: DagsterStandIn, engine: Engine
) -> None:
    store(engine, 1, 2, 3)
    later = datetime.now(UTC) + timedelta(minutes=50)
    for event, reason in zip(rows(engine), ("outage", "app", "activity"), strict=True):
        change(engine, [event.id], state="waiting", waiting_for=reason, not_before=later)
    strava_is_away(engine, timedelta(minutes=4))
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 0
    strava_answers(engine)
    assert dispatcher.dispatch_once() == 2
    assert states(engine) == ["launched", "launched", "waiting"]


def test_events_wait_for_an_app_that_is_switched_off(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1)
    with engine.begin() as connection:
        note_inactive(connection, "Forbidden", now(connection))
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 0
    with engine.begin() as connection:
        note_active(connection)
    assert dispatcher.dispatch_once() == 1


@pytest.mark.parametrize("waiting_for", ["app", "outage"])
def test_an_oauth_that_is_away_does_not_hold_what_waits_for_the_app(
    dagster: DagsterStandIn, engine: Engine, waiting_for: str
) -> None:
    store(engine, 1)
    with engine.begin() as connection:
        moment = now(connection)
        waits = {"state": "waiting", "waiting_for": waiting_for, "not_before": moment + timedelta(hours=1)}
        connection.execute(update(webhook_events).values(**waits))
        state = Outage(9, moment, several=True, away_since=moment, probe_at=moment + timedelta(minutes=5))
        store_outage(connection, Service.OAUTH, state)
    assert Dispatcher(load_settings(), engine).dispatch_once() == (waiting_for == "app")


def test_an_oauth_that_is_away_holds_nobody(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1)
    with engine.begin() as connection:
        moment = now(connection)
        state = Outage(9, moment, several=True, away_since=moment, probe_at=moment + timedelta(minutes=5))
        store_outage(connection, Service.OAUTH, state)
    assert Dispatcher(load_settings(), engine).dispatch_once() == 1
