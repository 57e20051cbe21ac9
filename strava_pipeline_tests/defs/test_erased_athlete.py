"""What Dagster has of an athlete goes with them: through its real GraphQL, and by the command's own hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import Engine, select, update

from strava_pipeline.cli.athlete_dagster_runs import delete_runs
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.names import ALL_ASSETS, Names
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.dagster_graphql_server import dagster_graphql
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.locations import loaded
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    activities,
    activity_details,
    activity_streams,
    defs,
    key_of,
    route_analyses,
)
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.notifications.conftest import hilly_streams
from strava_pipeline_tests.strava.loopback import Answer, Asked, Loopback, reply
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from webhook_bridge.dagster_tasks import DagsterTasks

# Dagster starts processes for the output of each run.
pytestmark = pytest.mark.processes
OTHER = RIDER + 1
GRID = (activities, activity_details, activity_streams, route_analyses)
PICTURED = key_of("route_analyses")
OTHERS = Names(("other",))
OF_MONTH, OF_PROFILE = {"dagster/partition/athlete": str(RIDER)}, {"dagster/partition": str(RIDER)}


class Made(NamedTuple):
    """A run: its tags, the keys of its assets, and whether it goes with RIDER."""

    tags: dict[str, str]
    goes: bool
    assets: tuple[str, ...] = ()


RUNS: dict[str, Made] = {
    "of an event": Made(NAMES.job_tags("webhook_sync") | {"strava/athlete": str(RIDER)}, True),
    "of an event, before names had a prefix": Made({"strava/athlete": str(RIDER)}, True),
    "of a month in the UI": Made(OF_MONTH, True, ("strava/activities", "strava/activity_details")),
    "of a month in the UI, before names had a prefix": Made(OF_MONTH, True, ("activities",)),
    "of the profile in the UI": Made(OF_PROFILE, True, ("strava/athletes", "strava/gear")),
    "of a year": Made(
        {
            "strava/athlete": str(RIDER),
            "dagster/asset_partition_range_start": f"{RIDER}|2025-01-01",
            "dagster/asset_partition_range_end": f"{RIDER}|2025-12-01",
        },
        True,
        ("strava/activities",),
    ),
    "of both athletes, who was worked on last": Made(
        {
            "strava/athlete": str(RIDER),
            "dagster/asset_partition_range_start": f"{OTHER}|2025-12-01",
            "dagster/asset_partition_range_end": f"{RIDER}|2025-01-01",
        },
        False,
        ("strava/activities",),
    ),
    "of the other": Made({"strava/athlete": str(OTHER)}, False),
    "of one whose number begins alike": Made({"strava/athlete": f"{RIDER}0"}, False),
    "of nobody": Made({}, False),
    "of a host's asset by athlete": Made(OF_MONTH, False, ("rides_by_region",)),
    "of a host's job by athlete": Made(OF_PROFILE, False),
    "of an asset of ours and a host's": Made(OF_MONTH, False, ("strava/activities", "rides_by_region")),
    "of an asset of ours and a host's, as our step tagged it": Made(
        OF_MONTH | {"strava/athlete": str(RIDER)}, False, ("strava/activities", "rides_by_region")
    ),
    "of another app's event": Made(OTHERS.job_tags("webhook_sync") | {"other/athlete": str(RIDER)}, False),
    "of another app's month in the UI": Made(OF_MONTH, False, ("other/activities",)),
}


@pytest.fixture
def location(settings: Settings, engine: Engine) -> Iterator[CodeLocation]:
    """Of an instance that the webserver's thread can use as well; both athletes have a ride with a picture."""
    connect_riders(engine, RIDER)
    with dg.DagsterInstance.local_temp() as instance:
        location = CodeLocation(instance, StravaStandIn())
        register_athlete(instance, NAMES, RIDER)
        register_athlete(instance, NAMES, OTHER)
        location.strava.streams[1] = hilly_streams()
        location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
        assert location.materialize(*GRID, partition_key=f"{RIDER}|2025-06-01").success
        yield location


@pytest.fixture
def webserver(location: CodeLocation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Dagster's GraphQL on that instance, with the code location loaded."""
    with dagster_graphql(location.instance, loaded(strava_pipeline="own")) as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield loopback


def add_runs(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> dict[str, str]:
    """Runs of all kinds: what they are of -> id."""

    def made(run: Made) -> str:
        selected = frozenset(map(dg.AssetKey.from_user_string, run.assets)) or None
        created: dg.DagsterRun = create_run_for_test(instance, tags=run.tags, status=status, asset_selection=selected)
        return created.run_id

    return {of: made(run) for of, run in RUNS.items()}


def left(instance: dg.DagsterInstance, ids: dict[str, str]) -> set[str]:
    there = {run.run_id for run in instance.get_runs()}
    return {of for of, run_id in ids.items() if run_id in there}


STAYING = {of for of, run in RUNS.items() if not run.goes}


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
            delete_runs(instance, NAMES, RIDER)
    assert left(instance, ids) == RUNS.keys()
    for _ in range(2):
        assert delete_runs(instance, NAMES, RIDER) == 0
        assert left(instance, ids) == STAYING
        assert not has_pictures(instance)


def test_the_command_tells_of_runs_that_are_still_at_work(location: CodeLocation) -> None:
    ids = add_runs(location.instance, dg.DagsterRunStatus.STARTED)
    assert delete_runs(location.instance, NAMES, RIDER) == len(RUNS) - len(STAYING)
    assert left(location.instance, ids) == RUNS.keys()


def test_no_asset_is_forgotten() -> None:
    assert {key.to_user_string() for key in defs().resolve_all_asset_keys()} == {
        NAMES.asset_key(asset) for asset in ALL_ASSETS
    }
