"""What Dagster has yet to be told: told once it listens, in the right order, and by one bridge at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.erasures import athletes_being_erased
from strava_pipeline.warehouse.inbox.events import NewEvent, Stored
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.erasing import OTHER, data_of, delete_some_rows, two_whole_athletes
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import store_event
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava.loopback import Loopback, reply
from webhook_bridge import dagster_tasks
from webhook_bridge.dagster_api import RUNS_AT_ONCE
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.imports import launch_imports

RIDER = 1001


def answer(kind: str, **more: Any) -> Any:
    return reply({"data": {"answer": {"__typename": kind} | more}})


A_RUN = {
    "status": "SUCCESS",
    "tags": [{"key": "strava/athlete", "value": str(RIDER)}],
    "assetSelection": None,
    "assetCheckSelection": None,
}
# What is asked for a removal -> what a Dagster says that knows nothing of the athlete any more.
GONE = {
    "deleteDynamicPartitions": answer("DeleteDynamicPartitionsSuccess"),
    "runsOrError": answer("Runs", results=[]),
    "assetsOrError": answer("AssetConnection", nodes=[]),
    "reportRunlessAssetEvents": answer("ReportRunlessAssetEventsSuccess"),
}


@pytest.fixture
def dagster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with PlacedLoopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield loopback


def lets_go(dagster: Loopback, **otherwise: Any) -> None:
    answers = GONE | {"addDynamicPartition": answer("PythonError", message="odd")} | otherwise
    dagster.answer = lambda asked: next(found for name, found in answers.items() if name in asked.body.decode())


def due(engine: Engine, task: str, athlete_id: int = RIDER) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(users).values(athlete_id=athlete_id, scopes=[], state="active", generation=1, dagster_task=task)
        )


def left(engine: Engine) -> list[str | None]:
    with engine.connect() as connection:
        return list(connection.execute(select(users.c.dagster_task).order_by(users.c.athlete_id)).scalars())


def variables(dagster: Loopback) -> list[Any]:
    return [json.loads(asked.body)["variables"]["params"] for asked in dagster.asked]


@pytest.mark.parametrize("kind", ["AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"])
def test_who_connects_gets_partitions(dagster: Loopback, engine: Engine, kind: str) -> None:
    due(engine, "register")
    dagster.answers(answer(kind, key="1001"))
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert variables(dagster) == ["1001"]
    assert left(engine) == [None]
    assert DagsterTasks(load_settings(), engine).run_once() == 0
    assert len(dagster.asked) == 1


def test_while_dagster_is_away_it_waits(settings: Settings, engine: Engine) -> None:
    due(engine, "register")
    assert DagsterTasks(settings, engine).run_once() == 0
    assert left(engine) == ["register"]


def test_one_that_is_refused_does_not_hold_up_the_others(dagster: Loopback, engine: Engine) -> None:
    due(engine, "register")
    due(engine, "erase", 2002)
    lets_go(dagster)
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert left(engine) == ["register", None]


def test_who_goes_loses_partitions_and_files(dagster: Loopback, engine: Engine) -> None:
    settings = load_settings()
    month = settings.home / "lake" / f"athlete_id={RIDER}" / "month=2025-06"
    month.mkdir(parents=True)
    due(engine, "erase")
    late = NewEvent("k", 1, "activity", 7, "update", RIDER, datetime.now(UTC), {"title": "Round the lake"}, signed=True)
    assert store_event(engine, late) is Stored.NEW
    lets_go(dagster)
    assert DagsterTasks(settings, engine).run_once() == 1
    assert not month.parent.exists()
    with engine.connect() as connection:
        event = connection.execute(select(webhook_events)).one()
    assert (event.state, event.updates) == ("done", {})
    assert variables(dagster)[0] == "1001"


def test_it_goes_on_where_an_erasure_was_cut_off(dagster: Loopback, engine: Engine, keyring: Keyring) -> None:
    two_whole_athletes(engine, keyring)
    others = data_of(engine, OTHER)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="a test")
    assert not delete_some_rows(engine, RIDER, 3).is_whole
    assert data_of(engine, RIDER)
    lets_go(dagster)
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert (data_of(engine, RIDER), data_of(engine, OTHER)) == ({}, others)
    with engine.connect() as connection:
        assert athletes_being_erased(connection) == []


def test_rows_go_while_dagster_is_away(settings: Settings, engine: Engine, keyring: Keyring) -> None:
    two_whole_athletes(engine, keyring)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="a test")
    assert DagsterTasks(settings, engine).run_once() == 0
    assert data_of(engine, RIDER) == {}
    assert "erase" in left(engine)


def test_only_so_many_runs_are_deleted_at_once(dagster: Loopback, engine: Engine) -> None:
    due(engine, "erase")
    runs = [A_RUN | {"runId": f"run-{number}"} for number in range(RUNS_AT_ONCE + 1)]
    deleted = answer("DeletePipelineRunSuccess")
    lets_go(dagster, runsOrError=answer("Runs", results=runs), deleteRun=deleted)
    assert DagsterTasks(load_settings(), engine).run_once() == 0
    assert left(engine) == ["erase"]
    assert sum("deleteRun" in asked.body.decode() for asked in dagster.asked) == RUNS_AT_ONCE


def test_files_stay_where_data_is_kept(dagster: Loopback, engine: Engine) -> None:
    settings = load_settings()
    month = settings.home / "lake" / f"athlete_id={RIDER}" / "month=2025-06"
    month.mkdir(parents=True)
    due(engine, "unregister")
    lets_go(dagster)
    assert DagsterTasks(settings, engine).run_once() == 1
    assert month.exists()


def test_a_lake_that_refuses_holds_up_nobody_else(
    dagster: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_LAKE_URL", "no-such-protocol-of-fsspec://somewhere")
    due(engine, "erase")
    due(engine, "unregister", 2002)
    lets_go(dagster)
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    monkeypatch.setattr("strava_pipeline.warehouse.lake_files.erase_athlete_points", _refuse)
    assert DagsterTasks(load_settings(), engine).run_once() == 0
    assert left(engine) == ["erase", None]


def _refuse(*_: object) -> None:
    raise PermissionError("s3://bucket: Access Denied")


def test_another_bridge_has_it_in_hand(dagster: Loopback, engine: Engine) -> None:
    due(engine, "erase")
    with engine.begin() as connection:
        connection.execute(select(users).with_for_update())
        assert DagsterTasks(load_settings(), engine).run_once() == 0
    assert dagster.asked == []


def test_a_fault_of_its_own_does_not_end_it(
    dagster: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lets_go(dagster)
    due(engine, "erase")
    monkeypatch.setattr(dagster_tasks, "POLL_SECONDS", 0.01)
    faults = [ZeroDivisionError("a fault")]

    def fails_once(*given: Any, **options: Any) -> int:
        if faults:
            raise faults.pop()
        due(engine, "erase", RIDER + 1)
        monkeypatch.setattr(dagster_tasks, "launch_imports", launch_imports)
        return launch_imports(*given, **options)

    monkeypatch.setattr(dagster_tasks, "launch_imports", fails_once)
    tasks = DagsterTasks(load_settings(), engine)
    tasks.start()
    eventually(lambda: left(engine) == [None, None], "a task that came after the fault")
    tasks.stop()
    assert "ZeroDivisionError: a fault" in caplog.text


def test_it_runs_beside_until_stopped(dagster: Loopback, engine: Engine) -> None:
    lets_go(dagster)
    due(engine, "erase")
    tasks = DagsterTasks(load_settings(), engine)
    tasks.start()
    tasks.wake()
    while left(engine) != [None]:
        pass
    tasks.stop()
    assert not tasks.is_running
