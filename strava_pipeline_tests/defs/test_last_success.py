"""Jobs that run again and again note when they last ended as they should, for metrics."""

from __future__ import annotations

import dagster as dg
import pytest
from sqlalchemy import Engine

from strava_pipeline.defs.jobs import retention as job
from strava_pipeline.errors import WarehouseError
from strava_pipeline.warehouse.metric_totals import PeriodicJob, read_successes
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import retention, run_checks, update_lake, upkeep

JOBS = {
    PeriodicJob.RETENTION: retention,
    PeriodicJob.LAKE: update_lake,
    PeriodicJob.CHECKS: run_checks,
    PeriodicJob.UPKEEP: upkeep,
}


def run(location: CodeLocation, wanted: dg.JobDefinition) -> bool:
    return wanted.execute_in_process(
        instance=location.instance, resources=location.resources(), raise_on_error=False
    ).success


def succeeded(engine: Engine) -> set[PeriodicJob]:
    with engine.connect() as connection:
        return set(read_successes(connection))


def test_each_job_notes_its_success(location: CodeLocation, engine: Engine) -> None:
    assert set(JOBS) == set(PeriodicJob) - {PeriodicJob.ALERTS}
    for number, wanted in enumerate(JOBS.values()):
        assert run(location, wanted)
        assert succeeded(engine) == set(list(JOBS)[: number + 1])


def test_a_job_that_fails_notes_none(location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise WarehouseError("the table is broken: see the log")

    monkeypatch.setattr(job, "remove_old_records", fail)
    assert not run(location, retention)
    assert succeeded(engine) == set()
