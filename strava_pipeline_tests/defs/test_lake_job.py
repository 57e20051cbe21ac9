"""The job that keeps the lake true: what was deleted leaves its files, and one month that fails stops no other."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import Engine, select

from strava_pipeline.defs import dead_runs
from strava_pipeline.defs.assets.activities import activities, activity_details, activity_streams
from strava_pipeline.defs.assets.lake import activity_points_parquet, write_lake_month
from strava_pipeline.defs.jobs import lake as job
from strava_pipeline.defs.jobs.lake import update_lake, why_no_run
from strava_pipeline.errors import WarehouseError
from strava_pipeline.months import Span
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.lake import MonthFile
from strava_pipeline.warehouse.schema.import_tables import failed_months
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER

NOTHING = "every file equals the tables, or its turn comes later"


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


def delete(location: CodeLocation, engine: Engine, *numbers: int) -> None:
    for number in numbers:
        location.strava.delete(number)
        bring_up_to_date(location.strava.sync(engine), RIDER, number, "delete")


def months(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.home / "lake" / f"athlete_id={RIDER}").iterdir())


def test_what_was_deleted_leaves_the_lake_without_an_import_or_a_request(
    written: CodeLocation, settings: Settings, engine: Engine
) -> None:
    assert why_no_run(written.instance, engine) == NOTHING
    delete(written, engine, 6)
    assert why_no_run(written.instance, engine) is None
    written.strava.new_requests()
    result = run(written)
    assert result.success
    assert written.strava.new_requests() == []
    assert months(settings) == ["month=2025-05"]
    (event,) = result.get_asset_materialization_events()
    assert event.partition == f"{RIDER}|2025-06-01"
    assert why_no_run(written.instance, engine) == NOTHING


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
    assert why_no_run(written.instance, engine) == NOTHING


def test_a_run_begins_no_month_after_its_time(
    written: CodeLocation, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(written, engine, 5, 6)
    monkeypatch.setattr(job, "WORKS_FOR_SECONDS", -1.0)
    assert run(written).success
    assert months(settings) == ["month=2025-05", "month=2025-06"]
    assert why_no_run(written.instance, engine) is None


def test_a_run_under_way_is_not_joined_by_another_and_a_dead_one_holds_up_nobody(
    written: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(written, engine, 6)
    begun = written.instance.create_run_for_job(update_lake, tags=update_lake.tags)
    written.instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", update_lake.name), begun.run_id)
    assert why_no_run(written.instance, engine) == "the last run has not ended"
    monkeypatch.setattr(dead_runs, "BETWEEN_LOOKS_SECONDS", 0.0)
    monkeypatch.setattr(dead_runs, "LOOKS", 2)
    assert why_no_run(written.instance, engine) is None
