"""What a command does to the Dagster instance before its own run begins: old runs are ended, the pool is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import psutil
import pytest

from strava_pipeline.cli.instance import open_instance, prepare_dagster_environment
from strava_pipeline.cli.own_runs import cancel_own_runs
from strava_pipeline.cli.up import TIDY
from strava_pipeline.defs.dead_runs import end_dead_runs
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.defs.run_process import process_tag
from strava_pipeline.names import Job
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

STEP = "strava__activities"


@pytest.fixture
def dagster_settings(settings: Settings, dagster_database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    assert settings.home
    return load_settings()


@pytest.fixture
def instance(dagster_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name, value in prepare_dagster_environment(dagster_settings).items():
        monkeypatch.setenv(name, value)
    with open_instance(dagster_settings) as instance:
        yield instance


@pytest.fixture
def dead_tag() -> dict[str, str]:
    """The tag of a process that has ended."""
    code = (
        "from strava_pipeline.defs.run_process import process_tag; from strava_pipeline.names import OWN_NAMES;"
        " print(*process_tag(OWN_NAMES).values())"
    )
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    return {NAMES.process_tag: done.stdout.strip()}


@dg.op(pool=NAMES.pool)
def work() -> None:
    """Never executed here."""


@dg.job
def some_job() -> None:
    work()


def a_run(instance: dg.DagsterInstance, tags: dict[str, str], status: dg.DagsterRunStatus) -> str:
    """A run of ours that holds a slot of the pool."""
    run = instance.create_run_for_job(some_job, tags=NAMES.job_tags(Job.UPKEEP) | tags, status=status)
    claim = instance.event_log_storage.claim_concurrency_slot(NAMES.pool, run.run_id, STEP)
    assert claim.is_claimed
    return run.run_id


def state(instance: dg.DagsterInstance, run_id: str) -> tuple[dg.DagsterRunStatus, bool]:
    """A run's status, and whether it holds a slot of the pool."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status, run_id in instance.event_log_storage.get_concurrency_run_ids()


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED], ids=str)
def test_a_run_whose_process_is_gone_has_failed_and_holds_no_slot(
    instance: dg.DagsterInstance, dead_tag: dict[str, str], status: dg.DagsterRunStatus
) -> None:
    run_id = a_run(instance, dead_tag, status)
    assert end_dead_runs(instance, NAMES, is_own=True) == 1
    assert state(instance, run_id) == (dg.DagsterRunStatus.FAILURE, False)
    assert end_dead_runs(instance, NAMES, is_own=True) == 0


def test_runs_of_living_processes_of_other_hosts_and_of_the_daemon_go_on(instance: dg.DagsterInstance) -> None:
    others: tuple[dict[str, str], ...] = ({}, process_tag(NAMES), {NAMES.process_tag: f"elsewhere {os.getpid()} 1.00"})
    runs = [a_run(instance, tags, dg.DagsterRunStatus.STARTED) for tags in others]
    assert end_dead_runs(instance, NAMES, is_own=True) == 0
    assert {state(instance, run_id) for run_id in runs} == {(dg.DagsterRunStatus.STARTED, True)}


def test_a_process_id_that_came_round_again_is_another_process(instance: dg.DagsterInstance) -> None:
    host = process_tag(NAMES)[NAMES.process_tag].split()[0]
    earlier = psutil.Process().create_time() - 100
    run_id = a_run(instance, {NAMES.process_tag: f"{host} {os.getpid()} {earlier:.2f}"}, dg.DagsterRunStatus.STARTED)
    assert end_dead_runs(instance, NAMES, is_own=True) == 1
    assert state(instance, run_id) == (dg.DagsterRunStatus.FAILURE, False)


def test_up_begins_by_ending_dead_runs(
    instance: dg.DagsterInstance, dead_tag: dict[str, str], dagster_settings: Settings
) -> None:
    run_id = a_run(instance, dead_tag, dg.DagsterRunStatus.STARTED)
    subprocess.run(
        TIDY, env=os.environ | prepare_dagster_environment(dagster_settings), check=True, timeout=PATIENCE_SECONDS
    )
    assert state(instance, run_id) == (dg.DagsterRunStatus.FAILURE, False)


def test_own_runs_that_do_not_end_are_marked_as_canceled(
    instance: dg.DagsterInstance, dead_tag: dict[str, str]
) -> None:
    ours = a_run(instance, process_tag(NAMES), dg.DagsterRunStatus.STARTED)
    other = a_run(instance, dead_tag, dg.DagsterRunStatus.STARTED)
    try:
        assert cancel_own_runs(instance, wait=stop_wanted.is_set) == [ours]
        assert stop_wanted.is_set()
    finally:
        stop_wanted.clear()
    assert state(instance, ours) == (dg.DagsterRunStatus.CANCELED, False)
    assert state(instance, other) == (dg.DagsterRunStatus.STARTED, True)


def test_what_has_an_earlier_name_is_carried_over_before_any_run_begins(dagster_settings: Settings) -> None:
    month = "1001|2025-05-01"
    with open_instance(dagster_settings) as instance:
        # As if it had been prepared by an earlier release.
        instance.run_storage.set_cursor_values({"strava_pipeline/renamed_assets": ""})
        register_athlete(instance, NAMES, 1001)
        instance.report_runless_asset_event(dg.AssetMaterialization("activities", partition=month))
    with open_instance(dagster_settings) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey(["strava", "activities"])) == {month}
        assert not instance.has_asset_key(dg.AssetKey("activities"))
