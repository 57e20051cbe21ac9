"""Checks are reported by themselves, and with what a run materialized: nothing reads "Not evaluated"."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
import time_machine
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from sqlalchemy import Engine, insert, update

from strava_pipeline.defs import check_reports, dead_runs
from strava_pipeline.defs.checks import CHECKS_OF, MOST_LINES, athletes_are_heard_of
from strava_pipeline.defs.jobs.checks import why_no_run
from strava_pipeline.errors import DatabaseTooSlow
from strava_pipeline.names import HISTORY_ASSETS, Asset
from strava_pipeline.warehouse.activities import month_checks
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.check_tables import changed_months
from strava_pipeline_tests.defs.check_status import evaluated, keys_of, last_told
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.import_jobs import launched, run, tick
from strava_pipeline_tests.defs.own_definitions import (
    CHECKS,
    PLAN,
    activities,
    activity_details,
    activity_streams,
    checks_every_five_minutes,
    key_of,
    loaded,
    route_analyses,
    run_checks,
)
from strava_pipeline_tests.defs.webhook_runs import work_off
from strava_pipeline_tests.inbox import connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import wish_for

AT = datetime(2025, 6, 10, tzinfo=UTC)
JUNE = f"{RIDER}|2025-06-01"
GRID = (activities, activity_details, activity_streams, route_analyses)
IN_RANGE = dg.AssetCheckKey(key_of(Asset.ACTIVITIES), "values_in_range")
NOTHING = "no check has changed"


@pytest.fixture
def imported(location: CodeLocation, engine: Engine) -> CodeLocation:
    """A month with one ride, imported as a whole."""
    connect_riders(engine, RIDER)
    location.strava.add(1, AT)
    assert location.materialize(*GRID, *CHECKS, partition_key=JUNE).success
    return location


def report(location: CodeLocation) -> dg.ExecuteInProcessResult:
    return run_checks.execute_in_process(instance=location.instance, resources=location.resources())


def shown(location: CodeLocation, asset: str) -> dict[str, object]:
    """The metadata of an asset's last materialization."""
    (record,) = location.instance.fetch_materializations(key_of(asset), limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_a_webhook_shows_the_whole_month_and_every_check_of_what_it_materialized(
    imported: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org")
    monkeypatch.setattr(
        dg.DagsterInstance, "get_materialized_partitions", lambda *_: pytest.fail("all partitions are read")
    )
    imported.strava.add(2, AT + timedelta(days=1))
    store(engine, 2)
    assert work_off(imported, engine).success
    rows = "dagster/partition_row_count"
    told = {"activity": 2, "cause": "create"}
    assert shown(imported, Asset.ACTIVITIES) == told | {rows: 2}
    assert shown(imported, Asset.DETAILS) == told | {rows: 4}
    assert shown(imported, Asset.STREAMS) == told | {rows: 2}
    link = f"https://rides.example.org/months/{RIDER}/2025-06"
    assert shown(imported, Asset.ANALYSES) == told | {rows: 2, "route and elevation": link}
    assert evaluated(imported.instance, HISTORY_ASSETS) == dict.fromkeys(keys_of(HISTORY_ASSETS), True)


def test_a_webhook_tells_the_result_of_now_and_the_last_listings(imported: CodeLocation, engine: Engine) -> None:
    imported.strava.add(1, AT, max_heartrate=300)
    store(engine, 1, aspect_type="update", signed=False)
    assert work_off(imported, engine).success
    assert not evaluated(imported.instance, [Asset.ACTIVITIES])[IN_RANGE]
    listed = last_told(imported.instance, dg.AssetCheckKey(key_of(Asset.ACTIVITIES), "as_listed"))
    assert listed is not None
    assert listed.evaluation is not None
    assert {name: value.value for name, value in listed.evaluation.metadata.items()} == {"listed": 1, "absent": 0}


def test_checks_that_the_database_has_no_time_for_fail_no_webhook_and_are_left_to_the_job(
    imported: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ride is stored and shown by then: a run that failed would alarm for nothing, and send no mail."""

    def waits_in_vain(engine: Engine) -> bool:
        raise DatabaseTooSlow("a lock was held for longer than 30 s")

    imported.strava.add(2, AT + timedelta(days=1))
    store(engine, 2)
    with monkeypatch.context() as patched:
        patched.setattr(check_reports, "check_few_months", waits_in_vain)
        assert work_off(imported, engine).success
    assert shown(imported, Asset.ACTIVITIES)["dagster/partition_row_count"] == 2
    assert why_no_run(imported.instance, engine, PLAN) is None
    assert report(imported).success
    assert evaluated(imported.instance, HISTORY_ASSETS) == dict.fromkeys(keys_of(HISTORY_ASSETS), True)


def test_an_import_reports_the_checks_of_its_assets(location: CodeLocation, engine: Engine) -> None:
    connect_riders(engine, RIDER)
    location.strava.add(1, datetime.now(UTC) - timedelta(hours=1))
    wish_for(engine)
    assert run(location, launched(engine)).success
    assert evaluated(location.instance, HISTORY_ASSETS) == dict.fromkeys(keys_of(HISTORY_ASSETS), True)


def test_a_month_that_was_not_imported_as_a_whole_reports_nothing(imported: CodeLocation, engine: Engine) -> None:
    imported.strava.add(3, AT - timedelta(days=30))
    store(engine, 3)
    result = work_off(imported, engine)
    assert result.success
    assert result.get_asset_check_evaluations() == []


def test_checks_are_reported_without_any_materialization_and_then_rest(location: CodeLocation, engine: Engine) -> None:
    connect_riders(engine, RIDER)
    assert why_no_run(location.instance, engine, PLAN) is None
    assert report(location).success
    known = evaluated(location.instance, CHECKS_OF)
    assert known.keys() == keys_of(CHECKS_OF)
    heard_of = dg.AssetCheckKey(key_of(Asset.ATHLETES), "athletes_are_heard_of")
    assert {key for key, passed in known.items() if not passed} == {heard_of}
    assert why_no_run(location.instance, engine, PLAN) == NOTHING
    store(engine, 1)
    assert why_no_run(location.instance, engine, PLAN) is None
    (told,) = report(location).get_asset_check_evaluations()
    assert (told.check_name, told.passed) == ("athletes_are_heard_of", True)


def test_a_result_that_changed_by_time_or_tables_is_reported_alone(imported: CodeLocation, engine: Engine) -> None:
    assert report(imported).success
    with engine.begin() as connection:
        connection.execute(update(tables.activities).values(max_heartrate=300))
    (told,) = report(imported).get_asset_check_evaluations()
    assert (told.asset_check_key, told.passed) == (IN_RANGE, False)
    # Another athlete's event makes no difference to what the check of events says.
    assert why_no_run(imported.instance, engine, PLAN) == NOTHING


def test_many_changed_months_are_left_to_a_run_of_the_job(
    imported: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: neither a tick of the schedule nor a webhook has the time."""
    assert report(imported).success
    with engine.begin() as connection:
        connection.execute(insert(changed_months).values(athlete_id=RIDER, month=date(2025, 6, 1)))
    monkeypatch.setattr(month_checks, "BATCH", 0)
    store(engine, 1, aspect_type="update", signed=False)
    assert work_off(imported, engine).success
    assert why_no_run(imported.instance, engine, PLAN) is None
    assert report(imported).success
    assert why_no_run(imported.instance, engine, PLAN) == NOTHING


def test_a_materialization_by_somebody_else_is_followed_by_results(imported: CodeLocation, engine: Engine) -> None:
    assert report(imported).success
    imported.instance.report_runless_asset_event(dg.AssetMaterialization(key_of(Asset.STREAMS), partition=JUNE))
    assert evaluated(imported.instance, [Asset.STREAMS]) == {}
    assert why_no_run(imported.instance, engine, PLAN) is None
    (told,) = report(imported).get_asset_check_evaluations()
    assert told.check_name == "streams_complete"
    assert evaluated(imported.instance, [Asset.STREAMS]) == dict.fromkeys(keys_of([Asset.STREAMS]), True)


def test_a_result_is_reported_once_a_day_at_least(imported: CodeLocation) -> None:
    assert report(imported).success
    for hours, told in ((23, 0), (25, len(keys_of(CHECKS_OF)))):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
            assert len(report(imported).get_asset_check_evaluations()) == told


def test_a_check_that_a_run_has_planned_is_left_to_it_while_it_lives(imported: CodeLocation, engine: Engine) -> None:
    assert report(imported).success
    planned = imported.instance.create_run_for_job(loaded(run_checks))
    plan = AssetCheckEvaluationPlanned(asset_key=IN_RANGE.asset_key, check_name=IN_RANGE.name)
    event = dg.DagsterEvent("ASSET_CHECK_EVALUATION_PLANNED", run_checks.name, event_specific_data=plan)
    imported.instance.report_dagster_event(event, planned.run_id)
    assert why_no_run(imported.instance, engine, PLAN) == NOTHING
    imported.instance.report_run_failed(planned)
    (told,) = report(imported).get_asset_check_evaluations()
    assert told.asset_check_key == IN_RANGE


@pytest.mark.usefixtures("settings", "engine")
def test_the_schedule_asks_for_one_run_at_a_time_and_a_dead_one_holds_up_nobody(
    persistent: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, _ = tick(persistent, checks_every_five_minutes)
    assert len(requests) == 1
    begun = persistent.create_run_for_job(loaded(run_checks), tags=run_checks.run_tags)
    persistent.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run_checks.name), begun.run_id)
    assert tick(persistent, checks_every_five_minutes) == ([], "the last run has not ended")
    monkeypatch.setattr(dead_runs, "BETWEEN_LOOKS_SECONDS", 0.0)
    monkeypatch.setattr(dead_runs, "LOOKS", 2)
    requests, _ = tick(persistent, checks_every_five_minutes)
    assert len(requests) == 1


def test_a_result_names_so_many_and_counts_the_rest(engine: Engine) -> None:
    """Dagster keeps each result for weeks: a thousand athletes must not make each of them long."""
    connect_riders(engine, *range(1, MOST_LINES + 11))
    with engine.connect() as connection:
        result = athletes_are_heard_of(connection)
    lines = str(result.metadata["found"].value).splitlines()
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "- and 10 more"
    assert str(result.description).endswith("and 10 more")
