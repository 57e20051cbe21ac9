"""The pools' limits: ours, unless an operator has set another one; and what dagster.yaml makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from sqlalchemy import make_url

from strava_pipeline.cli.instance import instance_at, prepare_dagster_environment
from strava_pipeline.definitions import defs
from strava_pipeline.defs.pools import POOLS, set_up_pools
from strava_pipeline.names import NAMES
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline_tests.eventually import eventually

DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"
# Runs in no pool that always find a slot.
FREE = 3


@pytest.fixture
def instance(
    settings: Settings, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    assert settings.home
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
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
        set_up_pools(instance)
        assert limits(instance) == POOLS == {"strava_api": 4, "strava_newest": 2, "strava_upkeep": 1}


def test_a_limit_that_dagster_has_stored_is_changed(instance: dg.DagsterInstance, dagster_database: str) -> None:
    # What an earlier version's dagster.yaml named.
    instance.event_log_storage.initialize_concurrency_limit_to_default(NAMES.pool)
    with psycopg.connect(address(dagster_database)) as connection:
        connection.execute('UPDATE concurrency_limits SET "limit" = 8')
    set_up_pools(instance)
    assert limits(instance) == POOLS


def test_a_limit_of_an_operator_stays(instance: dg.DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots(NAMES.pool, 6)
    instance.event_log_storage.set_concurrency_slots("theirs", 3)
    set_up_pools(instance)
    assert limits(instance) == POOLS | {NAMES.pool: 6, "theirs": 3}


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
            second = threads.submit(set_up_pools, instance)
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            eventually(lambda: looking.execute(waiting).fetchall() or second.done(), "a second that waits")
            assert not second.done()
            first.commit()
            second.result(timeout=60)
    assert limits(instance) == POOLS


def test_runs_in_no_pool_find_a_slot_whatever_the_pools_run() -> None:
    concurrency = yaml.safe_load(DAGSTER_YAML.read_text(encoding="utf-8"))["concurrency"]
    assert concurrency["runs"] == {"max_concurrent_runs": sum(POOLS.values()) + FREE}
    # Otherwise a run holds a slot only while a step of it does.
    assert concurrency["pools"] == {"granularity": "run", "default_limit": POOLS[NAMES.pool]}


def test_every_step_that_asks_strava_is_in_a_pool_but_a_webhooks() -> None:
    """So no run needs a tag to be limited."""
    steps = [node for job in defs().resolve_all_job_defs() for node in job.all_node_defs]
    asking = {step.name: step.pool for step in steps if isinstance(step, dg.OpDefinition) and asks_strava(step)}
    assert {name for name, pool in asking.items() if pool is None} == {"sync_object"}
    assert set(asking.values()) == {None, *POOLS}


def asks_strava(step: dg.OpDefinition) -> bool:
    return "strava" in step.required_resource_keys


def address(dagster_database: str) -> str:
    return make_url(dagster_database).set(drivername="postgresql").render_as_string(hide_password=False)
