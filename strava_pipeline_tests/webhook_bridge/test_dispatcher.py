"""Inbox -> Dagster runs, against a loopback stand-in of Dagster's GraphQL."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from strava_pipeline.import_runs import TAKE_UP_SECONDS
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.inbox.claims import ALONE_AFTER_LOST_RUNS, MOST_LOST_RUNS, begin_run
from strava_pipeline.warehouse.inbox.events import add_events
from strava_pipeline.warehouse.states import EventSource
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import LONG_AGO, an_event, change, connect_riders, rows, states, store
from strava_pipeline_tests.logged import logged
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from webhook_bridge import dispatcher as dispatching
from webhook_bridge.dispatcher import Dispatcher

RIDERS = (1001, 1002)


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, *RIDERS)


def test_objects_whose_runs_got_lost_get_runs_of_their_own(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2, 3, 4)
    change(engine, [rows(engine)[place].id for place in (1, 2)], lost_runs=ALONE_AFTER_LOST_RUNS)
    assert Dispatcher(load_settings(), engine).dispatch_once() == 4
    assert [
        len(launch["runConfigData"]["ops"]["strava_claimed_objects"]["config"]["fences"]) for launch in dagster.launches
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
    assert launch["selector"]["jobName"] == "strava_webhook_sync"
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


def test_dead_letters_whose_time_has_come_are_launched_again(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2)
    change(engine, state="dead", error_class="transient", redrive_at=datetime.now(UTC) + timedelta(hours=1))
    dispatcher = Dispatcher(load_settings(), engine)
    assert dispatcher.dispatch_once() == 0
    change(engine, [rows(engine)[0].id], redrive_at=LONG_AGO)
    assert dispatcher.dispatch_once() == 1
    assert states(engine) == ["launched", "dead"]


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


def test_a_dispatcher_that_ends_for_a_bug_says_so(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = Dispatcher(settings, engine)
    monkeypatch.setattr(dispatcher, "dispatch_once", lambda: 1 // 0)
    dispatcher.start()
    eventually(lambda: dispatcher.has_ended, "the dispatcher's end")
    assert "the thread dispatcher ended by an error: restart the bridge" in caplog.text


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


def test_lines_about_launches_and_dead_letters_name_run_and_events(dagster: DagsterStandIn, engine: Engine) -> None:
    store(engine, 1, 2)
    store(engine, 1, aspect_type="update")
    change(engine, [rows(engine)[1].id], lost_runs=MOST_LOST_RUNS)
    first, lost, second = rows(engine)
    with logged("webhook_bridge") as lines:
        Dispatcher(load_settings(), engine).dispatch_once()
    dead, launch = lines
    assert (launch["run_id"], launch["event_id"]) == ("run-1", [first.id, second.id])
    assert (launch["athlete_id"], launch["activity_id"], launch["fence"]) == (1001, 1, rows(engine)[0].fence)
    assert (dead["level"], dead["event_id"], dead["activity_id"]) == ("ERROR", lost.id, 2)
    assert "run_id" not in dead


def test_the_line_about_a_dagster_that_is_away_names_the_events_that_wait(settings: Settings, engine: Engine) -> None:
    store(engine, 1, 2)
    dispatcher = Dispatcher(settings, engine)
    with logged("webhook_bridge") as lines:
        dispatcher.start()
        eventually(lambda: lines, "a line about Dagster")
        dispatcher.stop()
    assert lines[0]["level"] == "WARNING"
    assert lines[0]["event_id"] == [row.id for row in rows(engine)]
