"""Dagster's queue and the tables are read in the background, each whatever becomes of the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import Metric
from sqlalchemy import Connection, Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from webhook_bridge import background_reading
from webhook_bridge.background_reading import BackgroundReading, TableMetrics, Tables

AWAY = "http://127.0.0.1:9"  # nobody listens there


def nothing(*_: object) -> list[Metric]:
    return []


@pytest.fixture
def reading(dagster: DagsterStandIn, engine: Engine) -> BackgroundReading:
    return BackgroundReading(load_settings(), engine)


def test_it_reads_the_queue_and_the_tables(dagster: DagsterStandIn, engine: Engine) -> None:
    dagster.queued = 3
    metric, slow = (Metric(name, "told", "gauge") for name in ("name", "slow"))
    reading = BackgroundReading(load_settings(), engine, TableMetrics(lambda *_: [metric], lambda *_: [slow]))
    assert reading.last is None
    reading.read()
    assert reading.last is not None
    assert reading.last.queued_runs == 3
    assert reading.last.tables == Tables(timedelta(), [metric])
    assert reading.last.slow == [slow]
    assert 0 < reading.last.seconds < 60
    assert reading.last.is_fresh()


@pytest.mark.parametrize("is_stopping", [True, False])
def test_much_that_has_piled_up_holds_up_neither_a_reading_nor_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, dagster: DagsterStandIn, is_stopping: bool
) -> None:
    monkeypatch.setattr(background_reading, "ADDING_SECONDS", 3600.0 if is_stopping else 0.0)
    asked: list[bool] = []

    def add(_: Engine, go_on: Callable[[], bool]) -> int:
        asked.append(go_on())
        return 0

    monkeypatch.setattr(background_reading, "add_finished", add)
    reading = BackgroundReading(load_settings(), engine, TableMetrics(nothing, nothing))
    if is_stopping:
        reading.read()
        reading.tell_to_stop()
    reading.read()
    assert asked == ([True, False] if is_stopping else [False])
    assert reading.last is not None
    assert reading.last.tables is not None


def test_without_dagster_the_tables_are_read(
    reading: BackgroundReading, dagster: DagsterStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    dagster.refusal = (500, b"")
    for _ in range(2):
        reading.read()
    assert reading.last is not None
    assert reading.last.queued_runs is None
    assert reading.last.tables is not None
    # An outage of hours is one line of the log, and each of its readings one in the metric of errors.
    assert [record.getMessage().partition(": ")[0] for record in caplog.records if "read" in record.getMessage()] == [
        "Dagster's queue cannot be read for metrics and health"
    ]
    assert reading.errors == 2
    dagster.refusal = None
    reading.read()
    assert reading.last.queued_runs == 0


def test_without_the_database_dagster_is_asked(dagster: DagsterStandIn) -> None:
    with engine_away() as away:
        reading = BackgroundReading(load_settings(), away)
        reading.read()
    assert reading.last is not None
    assert (reading.last.queued_runs, reading.last.tables) == (0, None)


def test_a_fault_of_its_own_does_not_end_it(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_reading, "EVERY_SECONDS", 0.01)
    faults = [ZeroDivisionError("a fault")]

    def fail_once(*_: object) -> list[Metric]:
        if faults:
            raise faults.pop()
        return []

    reading = BackgroundReading(load_settings(), engine, TableMetrics(fail_once, nothing))
    reading.start()
    eventually(lambda: reading.last is not None and reading.last.tables, "a reading after the fault")
    reading.stop()
    assert "ZeroDivisionError: a fault" in caplog.text


def test_slow_metrics_are_read_once_a_minute_and_kept_meanwhile(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[Metric]] = []

    def slow(*_: object) -> list[Metric]:
        read.append([Metric(f"slow{len(read)}", "told", "gauge")])
        return read[-1]

    reading = BackgroundReading(load_settings(), engine, TableMetrics(nothing, slow))
    for _ in range(3):
        reading.read()
        assert reading.last is not None
        assert [reading.last.slow] == read
    monkeypatch.setattr(background_reading, "SLOW_EVERY_SECONDS", 0.0)
    reading.read()
    assert reading.last is not None
    assert [reading.last.slow] == read[1:]


def test_a_slow_query_is_ended_and_costs_no_other_metric(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_reading, "SLOW_QUERY_MILLISECONDS", 10)
    metric = Metric("name", "told", "gauge")

    def sleep(connection: Connection, _: Settings) -> list[Metric]:
        connection.exec_driver_sql("SELECT pg_sleep(600)")
        return [metric]

    reading = BackgroundReading(load_settings(), engine, TableMetrics(lambda *_: [metric], sleep))
    reading.read()
    assert reading.last is not None
    assert reading.last.tables == Tables(timedelta(), [metric])
    assert reading.last.slow == ()
    assert reading.errors == 1


def test_what_was_read_long_ago_is_not_fresh(reading: BackgroundReading, monkeypatch: pytest.MonkeyPatch) -> None:
    reading.read()
    assert reading.last is not None
    monkeypatch.setattr(background_reading, "FRESH_SECONDS", 0.0)
    assert not reading.last.is_fresh()
