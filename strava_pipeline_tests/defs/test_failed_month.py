"""A run of assets that fails leaves an import, which does the rest: the other months' later assets, then the month."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import Engine, update

from strava_pipeline.errors import AppInactive, DatabaseUnavailable, NeedsReauthorization, RejectedRequest
from strava_pipeline.names import Asset, partition_key
from strava_pipeline.warehouse.imports.wishes import Import, list_imports, pause
from strava_pipeline.warehouse.schema.import_tables import failed_months
from strava_pipeline.warehouse.states import ImportStep, MadeBy, PausedBy
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.import_jobs import launched, run
from strava_pipeline_tests.defs.own_definitions import activities, activity_details, activity_streams, route_analyses
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import change, failed_steps, launch, wish_for

GRID = (activities, activity_details, activity_streams, route_analyses)
YEAR = {
    "dagster/asset_partition_range_start": f"{RIDER}|2024-01-01",
    "dagster/asset_partition_range_end": f"{RIDER}|2024-12-01",
}
MONTHS = {partition_key(RIDER, date(2024, month, 1)) for month in range(1, 13)}
MARCH = partition_key(RIDER, date(2024, 3, 1))
LISTING = "/athlete/activities"


@pytest.fixture(autouse=True)
def rider(engine: Engine, location: CodeLocation) -> None:
    """An athlete with a ride in each month, and twelve more in March."""
    connect_riders(engine, RIDER)
    for number in range(1, 13):
        location.strava.add(number, datetime(2024, number, 20, tzinfo=UTC))
        location.strava.add(100 + number, datetime(2024, 3, number, tzinfo=UTC))


def asked_for(engine: Engine) -> list[Import]:
    with engine.connect() as connection:
        return list_imports(connection)


def let_retry(engine: Engine) -> None:
    """Failed months are due again."""
    with engine.begin() as connection:
        connection.execute(update(failed_months).values(retry_at=LONG_AGO))
    change(engine, next_at=LONG_AGO)


def work_off(location: CodeLocation, engine: Engine) -> None:
    """Run whatever is due, as the schedules do."""
    while found := launch(engine):
        run(location, found)


def test_the_other_months_later_assets_follow_and_then_the_month(location: CodeLocation, engine: Engine) -> None:
    location.materialize(activities, tags=YEAR)
    for number in range(1, 13):
        location.strava.delete(100 + number)
    location.strava.new_requests()
    assert not location.materialize(*GRID, tags=YEAR).success
    assert location.materialized(Asset.DETAILS) == set()
    (made,) = asked_for(engine)
    assert (made.first_month, made.last_month, made.made_by) == (date(2024, 1, 1), date(2024, 12, 1), "run")
    assert made.steps == (ImportStep.SUMMARY, ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES)
    work_off(location, engine)
    assert location.materialized(Asset.DETAILS) == location.materialized(Asset.ANALYSES) == MONTHS
    # Nothing was listed again: the failed month waits for its time.
    assert location.strava.new_requests().count(LISTING) == 1
    (kept,) = failed_steps(engine)
    assert (kept.month, kept.step, kept.failures) == (date(2024, 3, 1), ImportStep.SUMMARY, 1)


def test_a_month_that_fails_three_times_is_tried_daily_and_then_done(location: CodeLocation, engine: Engine) -> None:
    location.materialize(activities, tags=YEAR)
    fault = ZeroDivisionError("a bug")
    location.strava.faults["/activities/3"] = [fault] * 3
    location.materialize(activity_details, tags=YEAR)
    pauses = []
    for failures in (1, 2, 3):
        (kept,) = failed_steps(engine)
        assert (kept.step, kept.failures) == (ImportStep.DETAIL, failures)
        pauses.append(kept.retry_at - kept.failed_at)
        # Not before its time.
        work_off(location, engine)
        assert failed_steps(engine)[0].failures == failures
        let_retry(engine)
        work_off(location, engine)
    assert pauses == [timedelta(minutes=5), timedelta(minutes=30), timedelta(days=1)]
    assert failed_steps(engine) == []
    assert location.materialized(Asset.DETAILS) == MONTHS
    assert location.strava.asked.count("/activities/1") == 1


def test_a_step_asks_only_for_itself_and_what_its_run_does_after_it(location: CodeLocation, engine: Engine) -> None:
    # Newest first: by then the ride of the twentieth has its samples.
    location.strava.faults["/activities/112/streams"] = [ZeroDivisionError("a bug")]
    assert not location.materialize(*GRID, tags=YEAR).success
    (made,) = asked_for(engine)
    assert made.steps == (ImportStep.STREAMS, ImportStep.FIGURES)
    location.strava.new_requests()
    work_off(location, engine)
    # The failed step waits for its time, though March lacks figures.
    assert location.strava.new_requests() == []
    assert location.materialized(Asset.ANALYSES) == MONTHS
    let_retry(engine)
    work_off(location, engine)
    assert location.strava.new_requests() == [f"/activities/{number}/streams" for number in range(112, 100, -1)]
    assert failed_steps(engine) == []


@pytest.mark.parametrize(
    ("error", "asks"),
    [
        (AppInactive("off"), True),
        (RejectedRequest("odd"), True),
        (NeedsReauthorization("the grant has ended"), True),
        (dg.DagsterExecutionInterruptedError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_that_gives_up_leaves_an_import_and_one_that_is_canceled_does_not(
    location: CodeLocation, engine: Engine, error: Exception, asks: bool
) -> None:
    location.strava.faults[LISTING] = [error]
    assert not location.materialize(*GRID, tags=YEAR).success
    assert len(asked_for(engine)) == asks


def test_a_step_that_is_tried_again_leaves_none(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/3"] = [DatabaseUnavailable("away")]
    assert location.materialize(*GRID, tags=YEAR).success
    assert asked_for(engine) == []


def test_a_single_month_that_fails_is_imported_too(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/103"] = [ZeroDivisionError("a bug")]
    assert not location.materialize(*GRID, partition_key=MARCH).success
    (made,) = asked_for(engine)
    assert (made.first_month, made.last_month) == (date(2024, 3, 1), date(2024, 3, 1))
    let_retry(engine)
    assert run(location, launched(engine)).success
    assert location.materialized(Asset.ANALYSES) == {MARCH}


@pytest.mark.parametrize(
    ("is_paused", "told"), [(False, "follows by itself"), (True, "follows once a person ends the pause of its import")]
)
def test_the_log_says_whether_the_rest_waits_for_a_person(
    location: CodeLocation, engine: Engine, is_paused: bool, told: str
) -> None:
    """Whether the import is made, as after the first failure, or exists, as after the second."""
    wish_for(engine, date(2020, 1, 1), date(2020, 1, 1), by=MadeBy.COMMAND)
    if is_paused:
        with engine.begin() as connection:
            pause(connection, RIDER, PausedBy.OPERATOR)
    location.strava.faults[LISTING] = [RejectedRequest("Strava refuses")] * 2
    for _ in range(2):
        result = location.materialize(activities, tags=YEAR)
        assert not result.success
        logs = [entry.user_message for entry in location.instance.all_logs(result.run_id)]
        assert [log for log in logs if log.endswith(told)] == [
            f"what this run leaves out of athlete {RIDER}, 2024-01 to 2024-12 {told}"
        ]
