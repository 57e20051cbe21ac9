"""What Dagster has of an athlete goes with them: through its real GraphQL, and by the command's own hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.schema import create_schema
from sqlalchemy import Engine, select, update

from strava_pipeline.cli.athlete_dagster_runs import delete_runs
from strava_pipeline.definitions import defs
from strava_pipeline.defs.assets.activities import activities, activity_details, activity_streams
from strava_pipeline.defs.assets.analysis import route_analyses
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.names import ALL_ASSETS, NAMES
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.notifications.conftest import hilly_streams
from strava_pipeline_tests.strava.loopback import Answer, Asked, Loopback, reply
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from webhook_bridge.dagster_tasks import DagsterTasks

# Dagster starts processes for the output of each run.
pytestmark = pytest.mark.processes
OTHER = RIDER + 1
GRID = (activities, activity_details, activity_streams, route_analyses)
PICTURED = dg.AssetKey("route_analyses")
# A run's tags -> whether it goes with RIDER.
RUNS: dict[str, tuple[dict[str, str], bool]] = {
    "of an event": ({"strava/athlete": str(RIDER)}, True),
    "of a month in the UI": ({"dagster/partition/athlete": str(RIDER)}, True),
    "of the profile in the UI": ({"dagster/partition": str(RIDER)}, True),
    "of a year": (
        {
            "strava/athlete": str(RIDER),
            "dagster/asset_partition_range_start": f"{RIDER}|2025-01-01",
            "dagster/asset_partition_range_end": f"{RIDER}|2025-12-01",
        },
        True,
    ),
    "of both athletes, who was worked on last": (
        {
            "strava/athlete": str(RIDER),
            "dagster/asset_partition_range_start": f"{OTHER}|2025-12-01",
            "dagster/asset_partition_range_end": f"{RIDER}|2025-01-01",
        },
        False,
    ),
    "of the other": ({"strava/athlete": str(OTHER)}, False),
    "of one whose number begins alike": ({"strava/athlete": f"{RIDER}0"}, False),
    "of nobody": ({}, False),
}


@pytest.fixture
def location(settings: Settings, engine: Engine) -> Iterator[CodeLocation]:
    """Of an instance that the webserver's thread can use as well; both athletes have a ride with a picture."""
    connect_riders(engine, RIDER)
    with dg.DagsterInstance.local_temp() as instance:
        location = CodeLocation(instance, StravaStandIn())
        register_athlete(instance, RIDER)
        register_athlete(instance, OTHER)
        location.strava.streams[1] = hilly_streams()
        location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
        assert location.materialize(*GRID, partition_key=f"{RIDER}|2025-06-01").success
        yield location


@pytest.fixture
def webserver(location: CodeLocation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Dagster's GraphQL on that instance, with the code location loaded."""
    code = LoadableTargetOrigin(module_name="strava_pipeline.definitions")
    origin = InProcessCodeLocationOrigin(code, location_name="strava_pipeline")
    schema = create_schema()
    with (
        WorkspaceProcessContext(location.instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
        Loopback() as loopback,
    ):

        def answer(asked: Asked) -> Answer:
            sent = json.loads(asked.body)
            context = workspace.create_request_context()
            executed = schema.execute_async(sent["query"], context_value=context, variable_values=sent["variables"])
            result = asyncio.run(executed)
            assert result.errors is None
            return reply({"data": result.data})

        loopback.answer = answer
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield loopback


def add_runs(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> dict[str, str]:
    """Runs of all kinds: what they are of -> id."""
    return {of: create_run_for_test(instance, tags=tags, status=status).run_id for of, (tags, _) in RUNS.items()}


def left(instance: dg.DagsterInstance, ids: dict[str, str]) -> set[str]:
    there = {run.run_id for run in instance.get_runs()}
    return {of for of, run_id in ids.items() if run_id in there}


STAYING = {of for of, (_, goes) in RUNS.items() if not goes}


def has_pictures(instance: dg.DagsterInstance) -> bool:
    """Whether anything that Dagster can still show has one, or names a partition of the athlete's."""
    records = instance.fetch_materializations(PICTURED, limit=100).records
    shown: list[object] = [record.event_log_entry for record in records]
    shown += [record.asset_entry.last_materialization for record in instance.get_asset_records([PICTURED])]
    return any("data:image/png" in str(entry) or f"{RIDER}|" in str(entry) for entry in shown)


def due(engine: Engine, task: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(dagster_task=task, state="revoked"))


def task(engine: Engine) -> str | None:
    with engine.connect() as connection:
        left_to_do: str | None = connection.execute(select(users.c.dagster_task)).scalar_one()
    return left_to_do


def test_the_bridge_deletes_the_runs_of_who_has_left_and_nobody_elses(
    location: CodeLocation, webserver: Loopback, engine: Engine
) -> None:
    instance, ids = location.instance, add_runs(location.instance)
    assert has_pictures(instance)
    due(engine, "erase")
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert task(engine) is None
    assert left(instance, ids) == STAYING
    assert not has_pictures(instance)
    assert instance.get_dynamic_partitions(NAMES.partition_set) == [str(OTHER)]
    assert location.materialized("route_analyses") == set()


def test_where_data_is_kept_so_are_the_runs(location: CodeLocation, webserver: Loopback, engine: Engine) -> None:
    ids = add_runs(location.instance)
    due(engine, "unregister")
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert left(location.instance, ids) == RUNS.keys()
    assert has_pictures(location.instance)


def test_runs_still_at_work_go_once_they_have_ended(
    location: CodeLocation, webserver: Loopback, engine: Engine
) -> None:
    instance = location.instance
    ids = add_runs(instance, dg.DagsterRunStatus.STARTED)
    due(engine, "erase")
    tasks = DagsterTasks(load_settings(), engine)
    assert tasks.run_once() == 0
    assert task(engine) == "erase"
    assert left(instance, ids) == RUNS.keys()
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        instance.report_run_failed(run)
    assert tasks.run_once() == 1
    assert left(instance, ids) == STAYING


@pytest.mark.parametrize("dies_after", range(0, 18, 3))
def test_a_dagster_that_goes_away_in_the_middle_is_asked_again(
    location: CodeLocation, webserver: Loopback, engine: Engine, dies_after: int
) -> None:
    instance, ids = location.instance, add_runs(location.instance)
    due(engine, "erase")
    webserver.answer, whole = _for_some_time(webserver.answer, dies_after), webserver.answer
    assert DagsterTasks(load_settings(), engine).run_once() == 0
    assert task(engine) == "erase"
    webserver.answer = whole
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert task(engine) is None
    assert left(instance, ids) == STAYING
    assert not has_pictures(instance)


def _for_some_time(answer: Callable[[Asked], Answer], times: int) -> Callable[[Asked], Answer]:
    left_over = iter(range(times))
    return lambda asked: reply({}, 502) if next(left_over, None) is None else answer(asked)


def test_the_command_deletes_them_by_itself_and_may_die_anywhere(
    location: CodeLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, ids = location.instance, add_runs(location.instance)

    def dies(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(instance.run_storage, "delete_run", dies)
        with pytest.raises(KeyboardInterrupt):
            delete_runs(instance, RIDER)
    assert left(instance, ids) == RUNS.keys()
    for _ in range(2):
        assert delete_runs(instance, RIDER) == 0
        assert left(instance, ids) == STAYING
        assert not has_pictures(instance)


def test_the_command_tells_of_runs_that_are_still_at_work(location: CodeLocation) -> None:
    ids = add_runs(location.instance, dg.DagsterRunStatus.STARTED)
    assert delete_runs(location.instance, RIDER) == len(RUNS) - len(STAYING)
    assert left(location.instance, ids) == RUNS.keys()


def test_no_asset_is_forgotten() -> None:
    assert {key.to_user_string() for key in defs().resolve_all_asset_keys()} == set(ALL_ASSETS)
