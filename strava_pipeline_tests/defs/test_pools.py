"""The pools' limits: ours, unless an operator has set another one; and what dagster.yaml makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

import dagster as dg
import psycopg
import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from sqlalchemy import make_url

from strava_pipeline.cli.instance import instance_at, prepare_dagster_environment
from strava_pipeline.defs.code_location import own_plan
from strava_pipeline.defs.pools import USUAL_RUNS, Pools, set_up_pools
from strava_pipeline.names import Asset, Job
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.imports.launches import most_under_way
from strava_pipeline_tests.defs.own_definitions import NAMES, defs, key_of, op
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"
POOLS = Pools.of_runs(NAMES, USUAL_RUNS).slots
# Of each kind, more than there are slots in any pool.
MANY = 6
# Those of which many wait at once.
AT_ONCE = (Job.ASSETS, Job.NEWEST_MONTH, Job.UPKEEP, Job.WEBHOOK_SYNC)
# Jobs that send no request, whose runs may take minutes.
TABLE_JOBS = (Job.RETENTION, Job.RUN_RETENTION, Job.REMAP)


@pytest.fixture
def at_once() -> int:
    """How many runs may be at work at once."""
    return USUAL_RUNS


@pytest.fixture
def instance(
    settings: Settings, dagster_database: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    assert settings.home
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", str(at_once))
    environment = prepare_dagster_environment(load_settings())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with instance_at(environment["DAGSTER_HOME"]) as instance:
        yield instance


def limits(instance: dg.DagsterInstance) -> dict[str, int]:
    return {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}


def test_each_pool_gets_its_slots(instance: dg.DagsterInstance) -> None:
    assert limits(instance) == {}
    for _ in range(2):
        set_up_pools(instance, NAMES, own_plan().pools())
        assert limits(instance) == POOLS == {"strava_api": 4, "strava_newest": 2, "strava_upkeep": 1}


def test_a_limit_that_dagster_has_stored_is_changed(instance: dg.DagsterInstance, dagster_database: str) -> None:
    # What an earlier version's dagster.yaml named.
    instance.event_log_storage.initialize_concurrency_limit_to_default(NAMES.pool)
    with psycopg.connect(address(dagster_database)) as connection:
        connection.execute('UPDATE concurrency_limits SET "limit" = 8')
    set_up_pools(instance, NAMES, own_plan().pools())
    assert limits(instance) == POOLS


def test_a_limit_of_an_operator_stays(instance: dg.DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots(NAMES.pool, 6)
    instance.event_log_storage.set_concurrency_slots("theirs", 3)
    set_up_pools(instance, NAMES, own_plan().pools())
    assert limits(instance) == {**POOLS, NAMES.pool: 6, "theirs": 3}


@pytest.mark.parametrize("is_default", [False, True], ids=["as-we-do", "as-the-daemon-does"])
def test_a_pool_that_another_process_adds_meanwhile_is_set_up(
    instance: dg.DagsterInstance, dagster_database: str, *, is_default: bool
) -> None:
    there, limit = address(dagster_database), 8 if is_default else 4
    with psycopg.connect(there) as first, psycopg.connect(there, autocommit=True) as looking:
        # The other process has written its row, and not committed it yet.
        values = '(concurrency_key, "limit", using_default_limit) VALUES (%s, %s, %s)'
        first.execute(f"INSERT INTO concurrency_limits {values}", (NAMES.pool, limit, is_default))
        with ThreadPoolExecutor() as threads:
            second = threads.submit(set_up_pools, instance, NAMES, own_plan().pools())
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            eventually(lambda: looking.execute(waiting).fetchall() or second.done(), "a second that waits")
            assert not second.done()
            first.commit()
            second.result(timeout=PATIENCE_SECONDS)
    assert limits(instance) == POOLS


def test_limits_follow_the_number_of_runs_and_an_operators_stay(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_pools(instance, NAMES, own_plan().pools())
    instance.event_log_storage.set_concurrency_slots(NAMES.newest_pool, 3)
    for number, imports in ((6, 2), (2, 1), (USUAL_RUNS, 4)):
        monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", str(number))
        set_up_pools(instance, NAMES, own_plan().pools())
        assert limits(instance) == {NAMES.pool: imports, NAMES.newest_pool: 3, NAMES.upkeep_pool: 1}
    # One that we had set before is an operator's, once we have set another.
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "6")
    set_up_pools(instance, NAMES, own_plan().pools())
    instance.event_log_storage.set_concurrency_slots(NAMES.pool, 4)
    set_up_pools(instance, NAMES, own_plan().pools())
    assert limits(instance)[NAMES.pool] == 4


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_process_that_dies_while_it_sets_limits_leaves_them_to_the_next(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    set_up_pools(instance, NAMES, own_plan().pools())
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "6")
    storage, calls = instance.event_log_storage, 0
    set_slots = storage.set_concurrency_slots

    def die(pool: str, limit: int) -> None:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise KeyboardInterrupt
        set_slots(pool, limit)

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(storage, "set_concurrency_slots", die)
        set_up_pools(instance, NAMES, own_plan().pools())
    for number in (6, 7):
        monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", str(number))
        set_up_pools(instance, NAMES, own_plan().pools())
        assert limits(instance) == Pools.of_runs(NAMES, number).slots


@pytest.mark.parametrize("at_once", range(2, USUAL_RUNS + 1))
def test_a_webhook_finds_a_slot_while_all_pools_are_full_of_long_runs(
    instance: dg.DagsterInstance, at_once: int
) -> None:
    set_up_pools(instance, NAMES, own_plan().pools())
    repository = defs().get_repository_def()
    jobs = {name: repository.get_job(NAMES.job(name)) for name in AT_ONCE}
    activities = {key_of(Asset.ACTIVITIES)}
    for _ in range(MANY):
        enqueue(instance, jobs[Job.ASSETS].get_subset(asset_selection=activities))
        enqueue(instance, jobs[Job.NEWEST_MONTH], import_id=1, launch_no=1, athlete_id=1)
        enqueue(instance, jobs[Job.UPKEEP])
    begun = begin_all(instance)
    pools = Pools.of_runs(NAMES, at_once)
    assert sum(pools.slots.values()) < at_once
    assert Counter(job for job, _ in begun) == kinds(pools)
    enqueue(instance, jobs[Job.WEBHOOK_SYNC], fences=[1])
    assert [job for job, _ in begin_all(instance)] == [NAMES.job(Job.WEBHOOK_SYNC)]


@pytest.mark.parametrize("at_once", [2, 4, 5, USUAL_RUNS])
def test_a_webhook_finds_a_slot_while_all_that_is_done_to_tables_alone_waits(
    instance: dg.DagsterInstance, at_once: int
) -> None:
    """Retention and remapping may take minutes, and all of them may be due at once."""
    set_up_pools(instance, NAMES, own_plan().pools())
    repository = defs().get_repository_def()
    for name in TABLE_JOBS:
        enqueue(instance, repository.get_job(NAMES.job(name)))
    assert len(begin_all(instance)) == 1
    enqueue(instance, repository.get_job(NAMES.job(Job.WEBHOOK_SYNC)), fences=[1])
    assert [job for job, _ in begin_all(instance)] == [NAMES.job(Job.WEBHOOK_SYNC)]


def test_only_short_jobs_and_one_that_gives_way_are_in_no_pool() -> None:
    jobs = defs().get_repository_def().get_all_jobs()
    free = {job.name for job in jobs if any(step.pool is None for step in job.all_node_defs if is_op(step))}
    in_none = (
        Job.WEBHOOK_SYNC, Job.FILES_IMPORT, Job.SEND_NOTIFICATIONS, Job.RUN_CHECKS, Job.UPDATE_LAKE, Job.ASSETS,
    )  # fmt: skip
    assert free == set(map(NAMES.job, in_none))


def is_op(step: object) -> TypeGuard[dg.OpDefinition]:
    return isinstance(step, dg.OpDefinition)


def kinds(pools: Pools) -> Counter[str]:
    """How many runs of each job begin while all wait: newest months first, then upkeep, then all else."""
    if pools.newest == NAMES.pool:
        return Counter({NAMES.job(Job.NEWEST_MONTH): pools.slots[NAMES.pool]})
    return Counter(
        {
            Job.ASSETS: pools.slots[NAMES.pool],
            NAMES.job(Job.NEWEST_MONTH): pools.slots[NAMES.newest_pool],
            NAMES.job(Job.UPKEEP): pools.slots[NAMES.upkeep_pool],
        }
    )


def enqueue(instance: dg.DagsterInstance, job: dg.JobDefinition, **config: object) -> None:
    """Put a run of a job into Dagster's queue, its one step with this config."""
    (step,) = [node.name for node in job.all_node_defs][:1]
    run_config = {"ops": {step: {"config": config}}} if config else {}
    origin = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin(host="localhost", socket="/code.socket"), "ours")
    instance.create_run_for_job(
        job,
        run_config=run_config,
        tags=dict(job.run_tags),
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=origin.get_job_origin(job.name),
    )


def begin_all(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    """Begin what Dagster's daemon takes from the queue until it takes nothing; the runs' jobs and ids."""
    daemon, begun = QueuedRunCoordinatorDaemon(interval_seconds=1), list[tuple[str, str]]()
    while taken := daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None):
        for run in taken:
            instance.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", run.job_name), run.run_id)
            instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run.run_id)
            begun.append((run.job_name, run.run_id))
    return begun


def test_the_shipped_file_counts_a_run_in_its_pools_from_start_to_end() -> None:
    concurrency = yaml.safe_load(DAGSTER_YAML.read_text(encoding="utf-8"))["concurrency"]
    assert concurrency["runs"] == {"max_concurrent_runs": USUAL_RUNS}
    # Otherwise a run holds a slot only while a step of it does.
    assert concurrency["pools"] == {"granularity": "run", "default_limit": POOLS[NAMES.pool]}


@pytest.mark.parametrize("more", range(31))
def test_more_runs_at_once_than_usual_are_for_imports(more: int) -> None:
    slots = Pools.of_runs(NAMES, USUAL_RUNS + more).slots
    assert slots == {**POOLS, NAMES.pool: POOLS[NAMES.pool] + more}
    assert most_under_way(USUAL_RUNS + more) == slots[NAMES.pool]


def test_every_step_that_asks_strava_is_in_a_pool_but_a_webhooks() -> None:
    """So no run needs a tag to be limited."""
    steps = [node for job in defs().resolve_all_job_defs() for node in job.all_node_defs]
    asking = {step.name: step.pool for step in steps if isinstance(step, dg.OpDefinition) and asks_strava(step)}
    assert {name for name, pool in asking.items() if pool is None} == {op("sync_object")}
    assert set(asking.values()) == {None, *POOLS}


def asks_strava(step: dg.OpDefinition) -> bool:
    return "strava_client" in step.required_resource_keys


def address(dagster_database: str) -> str:
    return make_url(dagster_database).set(drivername="postgresql").render_as_string(hide_password=False)
