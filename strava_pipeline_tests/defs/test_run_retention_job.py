"""The job that deletes old runs: once a day, from where the last one ended."""

from typing import Any

import dagster as dg
import pytest
import time_machine
from sqlalchemy import Engine

from strava_pipeline.defs.jobs import run_retention as job
from strava_pipeline.defs.jobs.run_retention import why_no_run
from strava_pipeline_tests.defs.own_definitions import PLAN, loaded, own_resources, run_retention
from strava_pipeline_tests.defs.test_run_retention import JUNE, MAY, day, left, ran

NOT_YET = "old runs were deleted less than a day ago"

pytestmark = pytest.mark.usefixtures("settings", "engine")


def work(instance: dg.DagsterInstance, on_day: float) -> dg.ExecuteInProcessResult:
    with time_machine.travel(day(on_day)):
        return run_retention.execute_in_process(instance=instance, resources=own_resources())


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (output,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def reason(instance: dg.DagsterInstance, engine: Engine, on_day: float) -> str | None:
    with time_machine.travel(day(on_day)):
        return why_no_run(instance, engine, PLAN)


def test_it_goes_on_where_the_last_one_ended_and_deletes_its_own_runs(
    instance: dg.DagsterInstance, engine: Engine
) -> None:
    for number in range(5):
        ran(instance, number, MAY if number % 2 else JUNE)
    assert told(work(instance, 20)) == {"deleted": 3, "looked at": 5}
    assert told(work(instance, 21)) == {"deleted": 0, "looked at": 0}
    ran(instance, 21.5, MAY)
    assert told(work(instance, 22)) == {"deleted": 1, "looked at": 1}
    assert told(work(instance, 40)) == {"deleted": 3, "looked at": 4}
    assert [run.job_name for run in instance.get_runs()] == [run_retention.name, "ours", "ours"]


def test_the_schedule_asks_once_a_day(instance: dg.DagsterInstance, engine: Engine) -> None:
    assert reason(instance, engine, 20) is None
    work(instance, 20)
    assert reason(instance, engine, 20 + 1 / 24) == NOT_YET
    assert reason(instance, engine, 20.99) is None
    # A clock that was set back.
    assert reason(instance, engine, 19) is None


def test_one_that_did_not_come_to_its_end_is_followed_at_once(
    instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(instance, 0, MAY)
    last = ran(instance, 1, MAY)
    with monkeypatch.context() as patched:
        patched.setattr(job, "WORKS_FOR_SECONDS", 0.0)
        assert told(work(instance, 20)) == {"deleted": 0, "looked at": 0}
    assert reason(instance, engine, 20.01) is None
    assert told(work(instance, 20.04)) == {"deleted": 1, "looked at": 2}
    assert last in left(instance)
    assert reason(instance, engine, 20.05) == NOT_YET


def test_none_is_asked_for_beside_one_that_is_to_come(instance: dg.DagsterInstance, engine: Engine) -> None:
    with time_machine.travel(day(20)):
        instance.create_run_for_job(loaded(run_retention), tags=dict(run_retention.run_tags))
    assert reason(instance, engine, 20.01) == "the last run has not ended"


def test_the_cursor_is_that_of_the_last_run_that_told_one(instance: dg.DagsterInstance, engine: Engine) -> None:
    work(instance, 20)
    with time_machine.travel(day(21)):
        # It died before it told how far it had come.
        instance.create_run_for_job(
            loaded(run_retention), tags=dict(run_retention.run_tags), status=dg.DagsterRunStatus.FAILURE
        )
    assert reason(instance, engine, 20.5) == NOT_YET


def test_nothing_runs_where_runs_are_kept_for_ever(
    instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_RUN_RETENTION_DAYS", "0")
    assert reason(instance, engine, 20) is None
    monkeypatch.setenv("STRAVA_FAILED_RUN_RETENTION_DAYS", "0")
    assert reason(instance, engine, 20) == "runs are kept for ever"
