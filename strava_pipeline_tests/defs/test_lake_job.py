"""The job that keeps the lake true: what was deleted leaves its files, and one month that fails stops no other."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import time_machine
from sqlalchemy import Engine, select

from strava_pipeline.defs import dead_runs
from strava_pipeline.defs.assets.lake import write_lake_month
from strava_pipeline.defs.jobs import lake as job
from strava_pipeline.defs.jobs.lake import why_no_run
from strava_pipeline.errors import WarehouseError
from strava_pipeline.months import Span
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_import import HandingIn, hand_in
from strava_pipeline.warehouse.lake import MonthFile
from strava_pipeline.warehouse.schema.import_tables import failed_months
from strava_pipeline.warehouse.states import CameBy
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.import_jobs import tick
from strava_pipeline_tests.defs.own_definitions import (
    PLAN,
    activities,
    activity_details,
    activity_points_parquet,
    activity_streams,
    lake_every_five_minutes,
    loaded,
    update_lake,
    webhook_sync,
)
from strava_pipeline_tests.defs.test_pools import enqueue
from strava_pipeline_tests.defs.webhook_runs import work_off
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.sync.handing_in import ATHLETE, EXPORT, here

TABLES = Path(__file__).parents[2] / "docs" / "tables.md"
NOTHING = "every file equals the tables, its turn comes later, or nobody has asked for a lake"


@pytest.fixture
def written(location: CodeLocation) -> CodeLocation:
    """A ride in May and one in June, in the lake."""
    for month in (5, 6):
        location.strava.add(month, datetime(2025, month, 10, tzinfo=UTC))
        chain = (activities, activity_details, activity_streams, activity_points_parquet)
        assert location.materialize(*chain, partition_key=f"{RIDER}|2025-0{month}-01").success
    return location


def run(location: CodeLocation) -> dg.ExecuteInProcessResult:
    return update_lake.execute_in_process(
        instance=location.instance, resources=location.resources(), raise_on_error=False
    )


@pytest.fixture
def ridden(location: CodeLocation, engine: Engine) -> CodeLocation:
    """A ride that came by a webhook, in a month without a file so far."""
    connect_riders(engine, RIDER)
    location.strava.add(1, datetime(2025, 7, 10, tzinfo=UTC))
    store(engine, 1)
    assert work_off(location, engine).success
    return location


def query_of_readme(settings: Settings) -> list[tuple[str, float]]:
    """What the query in docs/tables.md finds by DuckDB in this home's lake."""
    (query,) = re.findall(r"SELECT .* FROM read_parquet\(.*;", TABLES.read_text())
    assert "'.strava/" in query
    return duckdb.execute(query.replace(".strava/", f"{settings.home}/")).fetchall()


def delete(location: CodeLocation, engine: Engine, *numbers: int) -> None:
    for number in numbers:
        location.strava.delete(number)
        bring_up_to_date(location.strava.sync(engine), RIDER, number, "delete")


def months(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.home / "lake" / f"athlete_id={RIDER}").iterdir())


def test_what_was_deleted_leaves_the_lake_without_an_import_or_a_request(
    written: CodeLocation, settings: Settings, engine: Engine
) -> None:
    assert why_no_run(written.instance, engine, PLAN) == NOTHING
    delete(written, engine, 6)
    assert why_no_run(written.instance, engine, PLAN) is None
    written.strava.new_requests()
    result = run(written)
    assert result.success
    assert written.strava.new_requests() == []
    assert months(settings) == ["month=2025-05"]
    (event,) = result.get_asset_materialization_events()
    assert event.partition == f"{RIDER}|2025-06-01"
    assert why_no_run(written.instance, engine, PLAN) == NOTHING


@pytest.mark.parametrize("asked_by", ["setting", "a month"])
def test_a_ride_that_came_by_webhook_is_in_the_query_of_the_readme(
    ridden: CodeLocation, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, asked_by: str
) -> None:
    assert why_no_run(ridden.instance, engine, PLAN) == NOTHING
    if asked_by == "setting":
        monkeypatch.setenv("STRAVA_LAKE_URL", str(settings.home / "lake"))
    else:
        assert ridden.materialize(activity_points_parquet, partition_key=f"{RIDER}|2025-05-01").success
    assert why_no_run(ridden.instance, engine, PLAN) is None
    result = run(ridden)
    assert result.success
    assert [event.partition for event in result.get_asset_materialization_events()] == [f"{RIDER}|2025-07-01"]
    assert query_of_readme(settings) == [("2025-07", 101.5)]
    assert why_no_run(ridden.instance, engine, PLAN) == NOTHING


def test_an_archive_that_was_imported_on_the_machine_comes_with_a_lake(
    location: CodeLocation, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is set there, and nobody has materialized a month."""
    athlete_id = hand_in_archive(engine, settings)
    monkeypatch.setenv("STRAVA_DATA_IN_HOME", "false")  # as in a container, whose files go with it
    assert why_no_run(location.instance, engine, PLAN) == NOTHING
    monkeypatch.setenv("STRAVA_DATA_IN_HOME", "true")
    as_guest = replace(PLAN, is_own=False)
    assert why_no_run(location.instance, engine, as_guest) == NOTHING
    assert why_no_run(location.instance, engine, PLAN) is None
    result = run(location)
    assert result.success
    assert location.materialized("activity_points_parquet")
    assert (settings.home / "lake" / f"athlete_id={athlete_id}").is_dir()
    assert why_no_run(location.instance, engine, PLAN) == NOTHING


def hand_in_archive(engine: Engine, settings: Settings) -> int:
    """Import an archive of one run as the command does; return whose it is."""
    handing = HandingIn(given=EXPORT, athlete_id=ATHLETE, came_by=CameBy.COMMAND)
    hand_in(engine, settings, handing, here)
    return ATHLETE


def test_who_asked_for_no_lake_gets_no_file(ridden: CodeLocation, settings: Settings) -> None:
    assert run(ridden).success
    assert not (settings.home / "lake").exists()


def test_a_month_that_fails_stops_no_other_and_waits_for_its_time(
    written: CodeLocation, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(written, engine, 5, 6)

    def fails(engine: Engine, settings: Settings, span: Span) -> MonthFile:
        if span.start.month == 6:
            raise WarehouseError("the lake cannot be written: no space left")
        return write_lake_month(engine, settings, span)

    monkeypatch.setattr(job, "write_lake_month", fails)
    assert not run(written).success
    assert months(settings) == ["month=2025-06"]
    with engine.connect() as connection:
        assert connection.execute(select(failed_months.c.step, failed_months.c.error)).one() == (
            "lake",
            "the lake cannot be written: no space left",
        )
    assert why_no_run(written.instance, engine, PLAN) == NOTHING


def test_a_run_begins_no_month_after_its_time(
    written: CodeLocation, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(written, engine, 5, 6)
    monkeypatch.setattr(job, "WORKS_FOR_SECONDS", -1.0)
    assert run(written).success
    assert months(settings) == ["month=2025-05", "month=2025-06"]
    assert why_no_run(written.instance, engine, PLAN) is None


@pytest.mark.parametrize(("waited", "left"), [(timedelta(seconds=10), ["month=2025-05"]), (timedelta(), [])])
def test_a_run_gives_way_to_a_webhook_that_waits_for_a_slot(
    written: CodeLocation, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch,
    waited: timedelta, left: list[str],
) -> None:  # fmt: skip
    """Dagster takes a run from the queue within seconds: one that has just come waits for nothing of ours."""
    delete(written, engine, 5, 6)
    with time_machine.travel(datetime.now(UTC) - waited):
        enqueue(written.instance, loaded(webhook_sync), fences=[])
    worked = iter((0.0, 0.0, job.WORKS_AT_LEAST_SECONDS + 1.0, job.WORKS_AT_LEAST_SECONDS + 2.0))
    monkeypatch.setattr(job, "monotonic", lambda: next(worked))
    assert run(written).success
    assert months(settings) == left


def test_a_run_under_way_is_not_joined_by_another_and_a_dead_one_holds_up_nobody(
    written: CodeLocation, persistent: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(written, engine, 6)
    begun = persistent.create_run_for_job(loaded(update_lake), tags=update_lake.run_tags)
    persistent.report_dagster_event(dg.DagsterEvent("PIPELINE_START", update_lake.name), begun.run_id)
    assert tick(persistent, lake_every_five_minutes) == ([], "the last run has not ended")
    monkeypatch.setattr(dead_runs, "BETWEEN_LOOKS_SECONDS", 0.0)
    monkeypatch.setattr(dead_runs, "LOOKS", 2)
    requests, _ = tick(persistent, lake_every_five_minutes)
    assert len(requests) == 1
