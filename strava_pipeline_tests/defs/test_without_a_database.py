"""A code location without an address of the tables, or with an embedded Postgres in a container.

It loads, starts nothing, and says what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.names import Job, Names
from strava_pipeline_tests.strava_stand_in import RIDER


@pytest.fixture(params=["nothing given", "a reference given", "embedded in a container"])
def guest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[dg.Definitions, str]:
    """Definitions, and the line that says what is missing."""
    if request.param == "embedded in a container":
        monkeypatch.delenv("STRAVA_DATA_IN_HOME")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
        return build_strava_defs(delete_runs=True), "STRAVA_DATABASE_URL=embedded is refused in a container"
    if request.param == "nothing given":
        return build_strava_defs(delete_runs=True), "STRAVA_DATABASE_URL is not set: "
    given = {"database_url": {"env": "THEIR_DATABASE_URL"}, "token_keys": {"file": "/nowhere/keys"}}
    return build_strava_defs(
        delete_runs=True, settings=given
    ), "database_url refers to the variable THEIR_DATABASE_URL, which is not set"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    no_logs = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    with dg.instance_for_test(overrides={"compute_logs": no_logs}) as instance:
        yield instance


def test_the_location_loads_and_makes_no_folder(guest: tuple[dg.Definitions, str]) -> None:
    definitions, _ = guest
    dg.Definitions.validate_loadable(definitions)
    definitions.get_repository_def().get_all_jobs()
    assert not Path(os.environ["STRAVA_HOME"]).exists()


def test_each_schedule_skips_its_tick_with_one_line(
    guest: tuple[dg.Definitions, str], instance: dg.DagsterInstance
) -> None:
    definitions, missing = guest
    told = {}
    for schedule in definitions.schedules or ():
        assert isinstance(schedule, dg.ScheduleDefinition)
        with dg.build_schedule_context(instance=instance) as context:
            ticked = schedule.evaluate_tick(context)
        assert not ticked.run_requests
        told[schedule.name] = ticked.skip_message or ""
    assert len(told) == 9
    assert [name for name, line in told.items() if not line.startswith(missing) or "\n" in line] == []
    assert not Path(os.environ["STRAVA_HOME"]).exists()
    assert instance.event_log_storage.get_concurrency_keys() == set()


def test_a_run_of_assets_fails_with_that_line(guest: tuple[dg.Definitions, str], instance: dg.DagsterInstance) -> None:
    definitions, missing = guest
    instance.add_dynamic_partitions("strava_athletes", [str(RIDER)])
    run = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(["strava", "activities"])],
        partition_key=f"{RIDER}|2026-05-01",
        raise_on_error=False,
    )
    assert not run.success
    (failed,) = [event for event in run.all_events if event.event_type is dg.DagsterEventType.PIPELINE_FAILURE]
    assert missing in str(failed.event_specific_data)
    assert not Path(os.environ["STRAVA_HOME"]).exists()


@pytest.mark.parametrize("job", [Job.UPKEEP, Job.RETENTION, Job.SEND_NOTIFICATIONS])
def test_a_run_of_a_job_fails_with_that_line(
    guest: tuple[dg.Definitions, str], instance: dg.DagsterInstance, job: str
) -> None:
    definitions, missing = guest
    run = definitions.resolve_job_def(Names().job(job)).execute_in_process(instance=instance, raise_on_error=False)
    assert not run.success
    (failed,) = [event for event in run.all_events if event.event_type is dg.DagsterEventType.PIPELINE_FAILURE]
    assert missing in str(failed.event_specific_data)
    assert not Path(os.environ["STRAVA_HOME"]).exists()
