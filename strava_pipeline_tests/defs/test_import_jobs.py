"""The jobs of imports as Dagster runs them, what they show of months, and the schedules that launch them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine

from strava_pipeline.defs.pools import USUAL_RUNS, Pools
from strava_pipeline.errors import RejectedRequest
from strava_pipeline.import_runs import launch_tags
from strava_pipeline.months import Span, add_months
from strava_pipeline.names import HISTORY_ASSETS, Asset, Job, partition_key
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync import imports as importing
from strava_pipeline.sync.backfill import import_details
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.warehouse.imports.launches import Launch
from strava_pipeline.warehouse.imports.wishes import pause
from strava_pipeline.warehouse.states import ImportStep, MadeBy, PausedBy
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.import_jobs import launched, run, tick
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    defs,
    imports_every_five_minutes,
    key_of,
    newest_months_every_five_minutes,
)
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, stream_body
from strava_pipeline_tests.wishes import STEPS, change, launch, wish, wish_for

LOAD = key_of(Asset.TRAINING_LOAD)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def this_month() -> datetime:
    return add_months(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0), 0)


def test_an_import_runs_from_the_newest_month_to_the_oldest_and_shows_its_months(
    location: CodeLocation, engine: Engine
) -> None:
    newest, oldest = this_month(), add_months(this_month(), -14)
    location.strava.add(1, oldest.replace(hour=8))
    location.strava.add(2, newest)
    import_id = wish_for(engine, profile=True)
    jobs = []
    while found := launch(engine):
        result = run(location, found)
        assert result.success
        jobs.append(result.job_def.name)
    assert jobs == [NAMES.job(name) for name in (Job.NEWEST_MONTH, Job.IMPORT_HISTORY, Job.IMPORT_HISTORY)]
    assert wish(engine, import_id).whole_at is not None
    for name in HISTORY_ASSETS[1:]:
        assert location.materialized(name) == {partition_key(RIDER, newest), partition_key(RIDER, oldest)}
    assert len(location.materialized(Asset.ACTIVITIES)) == 15
    assert set(location.lanes) == {Lane.BACKFILL}
    assert location.first == [True, False, False]
    shown = location.instance.fetch_materializations(key_of(Asset.DETAILS), limit=10).records
    metadata = [record.asset_materialization.metadata for record in shown if record.asset_materialization]
    assert [each["requests"].value for each in metadata] == [1, 1]


def test_a_months_page_is_linked_with_its_figures(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, this_month())
    location.strava.streams[1] = stream_body(300)
    wish_for(engine)
    assert run(location, launched(engine)).success
    shown = location.instance.fetch_materializations(key_of(Asset.ANALYSES), limit=1).records
    assert shown[0].asset_materialization is not None
    link = shown[0].asset_materialization.metadata["route and elevation"].value
    assert link == f"http://127.0.0.1:8080/months/{RIDER}/{this_month():%Y-%m}"


def test_files_of_the_lake_are_written(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, this_month())
    wish_for(engine, steps=[*STEPS, ImportStep.LAKE])
    assert run(location, launched(engine)).success
    assert run(location, launched(engine)).success
    assert launch(engine) is None
    shown = location.instance.fetch_materializations(key_of(Asset.LAKE), limit=1).records
    assert shown[0].asset_materialization is not None
    assert shown[0].asset_materialization.metadata["dagster/partition_row_count"].value == 4


def test_a_run_that_was_overtaken_ends_well_and_asks_strava_for_nothing(location: CodeLocation, engine: Engine) -> None:
    wish_for(engine)
    first = launched(engine)
    change(engine, state="due", next_at=LONG_AGO)
    second = launched(engine)
    assert run(location, first).success
    assert location.strava.asked == []
    assert run(location, second).success
    assert location.strava.asked == ["/athlete/activities"]


@pytest.mark.parametrize(("scope", "max_wait"), [("app", None), ("athlete", timedelta(minutes=2))])
def test_with_limits_of_their_own_no_athlete_holds_a_slot_for_long(
    location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch, scope: str, max_wait: timedelta | None
) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", scope)
    wish_for(engine)
    assert run(location, launched(engine)).success
    assert location.max_waits == [max_wait]


def test_a_paused_import_ends_well_and_does_nothing(location: CodeLocation, engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    with engine.begin() as connection:
        pause(connection, RIDER, PausedBy.OPERATOR)
    assert run(location, found).success
    assert location.strava.asked == []
    assert wish(engine, import_id).state == "due"


def test_a_run_without_an_answer_fails_with_its_reason(location: CodeLocation, engine: Engine) -> None:
    import_id = wish_for(engine)
    location.strava.faults["/athlete/activities"] = [RejectedRequest("Strava refuses")]
    result = run(location, launched(engine))
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    description = failure.step_failure_data.user_failure_data.description
    assert description is not None
    assert description.startswith(f"athlete {RIDER}, ")
    assert description.endswith("Strava refuses")
    assert location.strava.asked == ["/athlete/activities"]
    assert (wish(engine, import_id).attempts, wish(engine, import_id).error) == (1, "Strava refuses")


def test_months_that_fail_are_named_and_the_others_shown(
    location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, before = this_month(), add_months(this_month(), -1)
    location.strava.add(1, this)
    location.strava.add(2, before)
    wish_for(engine, before.date(), this.date(), by=MadeBy.COMMAND)
    assert run(location, launched(engine)).success
    real = import_details

    def fails(sync: SyncContext, span: Span, *, due: bool) -> SpanResult:
        if span.start == this:
            raise ZeroDivisionError
        return real(sync, span, due=due)

    monkeypatch.setattr(importing, "import_details", fails)
    result = run(location, launched(engine))
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    assert f"1 of 2 months failed: {this:%Y-%m}" in str(failure.step_failure_data.user_failure_data.description)
    assert location.materialized(Asset.DETAILS) == {partition_key(RIDER, before)}
    assert location.materialized(Asset.ANALYSES) == {partition_key(RIDER, this), partition_key(RIDER, before)}


def test_a_schedule_requests_runs_of_its_kind_once(
    persistent: dg.DagsterInstance, settings: Settings, engine: Engine
) -> None:
    opened = wish_for(engine)
    bounded = wish_for(engine, this_month().date(), this_month().date(), by=MadeBy.COMMAND)
    for schedule, import_id, job in (
        (newest_months_every_five_minutes, opened, Job.NEWEST_MONTH),
        (imports_every_five_minutes, bounded, Job.IMPORT_HISTORY),
    ):
        assert schedule.job_name == NAMES.job(job)
        (request,), _ = tick(persistent, schedule)
        assert request.run_key is not None
        assert request.run_key.startswith(f"{import_id}.1 ")
        assert request.tags[NAMES.athlete_tag] == str(RIDER)
        assert wish(engine, import_id).state == "launched"
        assert tick(persistent, schedule) == ([], "no import is due, or enough are under way")
    limits = persistent.event_log_storage.get_pool_limits()
    assert {limit.name: limit.limit for limit in limits} == Pools.of_runs(NAMES, USUAL_RUNS).slots


def test_after_a_restore_of_the_tables_dagster_takes_a_launch_for_a_new_one(
    persistent: dg.DagsterInstance, settings: Settings, engine: Engine
) -> None:
    """Dagster launches no run with a key that it knows."""
    import_id = wish_for(engine)
    (first,), _ = tick(persistent, newest_months_every_five_minutes)
    change(engine, import_id, state="due", launch_no=0, lease_until=None)
    (second,), _ = tick(persistent, newest_months_every_five_minutes)
    assert launch_of_tags(first) == launch_of_tags(second)
    assert first.run_key != second.run_key


def launch_of_tags(request: dg.RunRequest) -> tuple[str, str]:
    return request.tags[NAMES.tag("import")], request.tags[NAMES.tag("launch")]


def test_a_schedule_looks_after_lost_runs(persistent: dg.DagsterInstance, settings: Settings, engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    change(engine, lease_until=LONG_AGO)
    # Dagster knows no run of this launch.
    (request,), _ = tick(persistent, newest_months_every_five_minutes)
    assert request.run_key is not None
    assert request.run_key.startswith(f"{import_id}.2 ")
    canceled = dg.DagsterRun(job_name=NAMES.job(Job.NEWEST_MONTH), tags=launch_tags(NAMES, Launch(import_id, 2, RIDER)))
    persistent.add_run(canceled.with_status(dg.DagsterRunStatus.CANCELED))
    change(engine, lease_until=LONG_AGO)
    assert tick(persistent, newest_months_every_five_minutes)[0] == []
    assert wish(engine, import_id).paused_by == "cancel"
    assert found.launch_no == 1


@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")
def test_the_training_load_follows_an_import(location: CodeLocation, engine: Engine) -> None:
    def evaluate(cursor: Any) -> dg.EvaluateAutomationConditionsResult:
        at = datetime.now(UTC)
        return dg.evaluate_automation_conditions(defs(), location.instance, evaluation_time=at, cursor=cursor)

    location.strava.add(1, this_month())
    wish_for(engine)
    before = evaluate(None)
    assert run(location, launched(engine)).success
    after = evaluate(before.cursor)
    assert before.get_requested_partitions(LOAD) == set()
    assert after.get_requested_partitions(LOAD) == {str(RIDER)}
