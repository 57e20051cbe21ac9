"""Inbox -> Dagster runs while Strava, Dagster or the database is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from sqlalchemy import Engine, select, text, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.outage import ANSWERED, Outage, Service
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.claims import ALONE_AFTER_LOST_RUNS
from strava_pipeline.warehouse.quota.app_status import note_active, note_inactive
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.watch.heartbeats import heartbeats_of
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import LONG_AGO, change, connect_riders, rows, states, store
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import end_sessions
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from webhook_bridge import dispatcher as dispatching
from webhook_bridge.dagster_server import DagsterUnavailable
from webhook_bridge.dispatcher import Dispatcher


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, RIDER)


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

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        with engine.begin() as connection:
            (row,) = connection.execute(select(webhook_events).where(webhook_events.c.state == "waiting"))
            assert row.not_before - datetime.now(UTC) <= timedelta(seconds=seconds)
            connection.execute(update(webhook_events).values(not_before=LONG_AGO))
        if len(pauses) == 8:
            dagster.refusal = None
        elif len(pauses) == 9:
            dispatcher.stopping.set()

    def rest(seconds: float) -> bool:
        # Drained: the next event meets a Dagster that is away again.
        if not seconds:
            return False
        dagster.refusal = (500, b"")
        store(engine, 2)
        return True

    monkeypatch.setattr(dispatcher, "pause", pause)
    monkeypatch.setattr(dispatcher.woken, "wait", rest)
    dispatcher.work()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1]


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


def test_a_dispatcher_gives_signs_of_life_also_while_it_pauses(
    engine: Engine, dagster: DagsterStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(dispatching, "SHORTEST_BEAT_SECONDS", 0.01)
    dispatcher = Dispatcher(load_settings(), engine)
    beats: list[datetime] = []

    def wait(seconds: float) -> bool:
        with engine.connect() as connection:
            beats.extend(each.beat_at for each in heartbeats_of(connection, LONG_AGO))
        return len(beats) == 3 or Event().wait(seconds)

    monkeypatch.setattr(dispatcher.stopping, "wait", wait)
    dispatcher.pause(60)
    assert beats == sorted(set(beats))
    assert len(beats) == 3
