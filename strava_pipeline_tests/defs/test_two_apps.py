"""Two apps as guests in one Dagster: each bridge finds its own, launches there, and touches nothing of the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, instance_for_test
from sqlalchemy import Engine, update

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.names import ALL_ASSETS, Job, Names
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.launches import Fate, Launch
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.dagster_graphql_server import dagster_graphql
from strava_pipeline_tests.defs.locations import loaded
from strava_pipeline_tests.doctor_checks import findings_of, told_by
from strava_pipeline_tests.inbox import LONG_AGO, change, connect_riders, rows, store
from strava_pipeline_tests.placed import JOBS, a_place
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import FLOOR, wish, wish_for
from webhook_bridge.dagster_api import fate_of
from webhook_bridge.dagster_place import NoPlace, find_place
from webhook_bridge.dagster_server import DagsterRefused, DagsterServer
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.dispatcher import Dispatcher
from webhook_bridge.failed_run_queries import failed_since
from webhook_bridge.imports import launch_imports

CYCLING, RUNNING = Names(("company", "cycling")), Names(("running",))
# Names of locations that tell nothing.
RIDES, RUNS = "rides_of_all", "jogging"
# The environment of these tests names one app for both.
APP = "4711"
# Runs wait in the queue, so that no process executes them.
QUEUED = {
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"},
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test(overrides=QUEUED) as instance:
        for names in (CYCLING, RUNNING):
            register_athlete(instance, names, RIDER)
        yield instance


@pytest.fixture
def webserver(
    settings: Settings, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loopback]:
    """Both apps in one Dagster, beside the tables of the first, which the settings mean."""
    connect_riders(engine, RIDER)
    with dagster_graphql(instance, loaded(**{RIDES: "cycling", RUNS: "running"})) as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        monkeypatch.setenv("STRAVA_DAGSTER_LOCATION", RIDES)
        yield loopback


def test_an_app_is_found_by_what_tells_it_apart(webserver: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    cycling = a_place(RIDES, key_prefix=CYCLING.key_prefix, jobs=JOBS - {Job.RUN_RETENTION}, is_own=False, app=APP)
    running = a_place(
        RUNS,
        key_prefix=RUNNING.key_prefix,
        assets=["athletes", "gear", "activities"],
        jobs=JOBS - {Job.UPDATE_LAKE},
        is_own=False,
        app=APP,
    )
    assert find_place(DagsterServer.from_settings(load_settings())) == cycling
    monkeypatch.delenv("STRAVA_DAGSTER_LOCATION")
    with pytest.raises(NoPlace, match=f"set STRAVA_DAGSTER_LOCATION to one of: {cycling}; {running}"):
        find_place(DagsterServer.from_settings(load_settings()))
    monkeypatch.setenv("STRAVA_DAGSTER_KEY_PREFIX", "running")
    assert find_place(DagsterServer.from_settings(load_settings())) == running


def test_webhooks_and_imports_are_launched_in_the_apps_own_location(
    webserver: Loopback, instance: dg.DagsterInstance, engine: Engine
) -> None:
    store(engine, 1)
    assert Dispatcher(load_settings(), engine).dispatch_once() == 1
    (event,) = rows(engine)
    assert event.run_id is not None
    run = instance.get_run_by_id(event.run_id)
    assert run is not None
    assert told_of(run) == ("company_cycling_webhook_sync", RIDES)
    assert run.tags["company_cycling/athlete"] == str(RIDER)
    assert run.tags["strava_pipeline/job"] == "webhook_sync"

    import_id = wish_for(engine)
    dagster = DagsterServer.from_settings(load_settings())
    assert launch_imports(dagster, engine, FLOOR) == 1
    launched = wish(engine, import_id)
    assert told_of(instance.get_run_by_id(str(launched.run_id))) == ("company_cycling_newest_month", RIDES)
    # The other app may have an import of the same number.
    mine = Launch(import_id, launched.launch_no, RIDER)
    assert fate_of(dagster, mine) is Fate.TO_COME
    instance.delete_run(str(launched.run_id))
    others = {RUNNING.tag("import"): str(import_id), RUNNING.tag("launch"): str(launched.launch_no)}
    create_run_for_test(instance, tags=others, status=dg.DagsterRunStatus.STARTED)
    assert fate_of(dagster, mine) is Fate.UNKNOWN


def told_of(run: dg.DagsterRun | None) -> tuple[str, str]:
    """The job of a run, and its location."""
    assert run is not None
    assert run.remote_job_origin is not None
    return run.job_name, run.remote_job_origin.location_name


def test_an_athlete_who_leaves_one_app_stays_in_the_other(
    webserver: Loopback, instance: dg.DagsterInstance, engine: Engine
) -> None:
    def made(names: Names) -> list[str]:
        of_event = names.job_tags(Job.WEBHOOK_SYNC) | {names.athlete_tag: str(RIDER)}
        of_month = {"dagster/partition/athlete": str(RIDER)}
        month = frozenset([dg.AssetKey(names.asset_path("activities"))])
        return [
            create_run_for_test(instance, tags=of_event, status=dg.DagsterRunStatus.SUCCESS).run_id,
            create_run_for_test(
                instance, tags=of_month, asset_selection=month, status=dg.DagsterRunStatus.SUCCESS
            ).run_id,
        ]

    gone, left = made(CYCLING), made(RUNNING)
    with engine.begin() as connection:
        connection.execute(update(users).values(dagster_task="erase", state="revoked"))
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert {run.run_id for run in instance.get_runs()} == set(left)
    assert gone
    assert instance.get_dynamic_partitions(CYCLING.partition_set) == []
    assert instance.get_dynamic_partitions(RUNNING.partition_set) == [str(RIDER)]
    covered = {key.to_user_string() for key in instance.all_asset_keys()}
    assert covered == {CYCLING.asset_key(asset) for asset in ALL_ASSETS}


def test_what_dagster_has_of_an_athlete_goes_however_much_a_host_has_and_keeps(
    webserver: Loopback, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's runs of the athlete are later than ours, and an asset has been left out since."""
    monkeypatch.setattr("webhook_bridge.dagster_api.PAGE", 2)
    monkeypatch.setenv("STRAVA_DAGSTER_LOCATION", RUNS)
    of_month = {"dagster/partition/athlete": str(RIDER)}

    def add(key: list[str], tags: dict[str, str]) -> str:
        selected = frozenset([dg.AssetKey(key)])
        status = dg.DagsterRunStatus.SUCCESS
        return str(create_run_for_test(instance, tags=tags, asset_selection=selected, status=status).run_id)

    add(RUNNING.asset_path("activities"), of_month)
    hosts = {add(["rides_by_region"], of_month) for _ in range(5)}
    # A job of a host's, whose run our step has tagged.
    hosts |= {create_run_for_test(instance, tags={RUNNING.athlete_tag: str(RIDER)}).run_id}
    left_out = dg.AssetKey(RUNNING.asset_path("activity_streams"))
    instance.report_runless_asset_event(dg.AssetMaterialization(left_out, partition=f"{RIDER}|2025-06-01"))
    with engine.begin() as connection:
        connection.execute(update(users).values(dagster_task="erase", state="revoked"))

    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert {run.run_id for run in instance.get_runs()} == hosts
    covered = {*map(RUNNING.asset_key, ("athletes", "gear", "activities", "activity_streams"))}
    assert {key.to_user_string() for key in instance.all_asset_keys()} == covered
    (record,) = instance.get_asset_records([left_out])
    last = record.asset_entry.last_materialization
    assert last is not None
    assert str(RIDER) not in str(last)


def test_an_athlete_who_connects_gets_partitions_in_the_app_alone(
    webserver: Loopback, instance: dg.DagsterInstance, engine: Engine
) -> None:
    connect_riders(engine, RIDER + 1)
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == RIDER + 1).values(dagster_task="register"))
    assert DagsterTasks(load_settings(), engine).run_once() == 1
    assert instance.get_dynamic_partitions(CYCLING.partition_set) == [str(RIDER), str(RIDER + 1)]
    assert instance.get_dynamic_partitions(RUNNING.partition_set) == [str(RIDER)]


def test_failed_runs_of_the_other_app_are_not_told(
    webserver: Loopback, instance: dg.DagsterInstance, engine: Engine
) -> None:
    for names in (CYCLING, RUNNING):
        tags = names.job_tags(Job.UPKEEP) | {"dagster/will_retry": "false"}
        create_run_for_test(instance, job_name=names.job(Job.UPKEEP), tags=tags, status=dg.DagsterRunStatus.FAILURE)
    with engine.connect() as connection:
        moment = now(connection)
    found = failed_since(DagsterServer.from_settings(load_settings()), moment - timedelta(hours=1), moment)
    assert [run.what for run in found] == [Job.UPKEEP]


def test_doctor_proves_the_way_and_tells_what_stands_still(
    webserver: Loopback, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"location {RIDES}, repository __repository__, prefix company/cycling, app {APP}"
    assert told_by("code location") == (Verdict.OK, f"{place}: company_cycling_webhook_sync can be launched")
    told = [finding.message for finding in findings_of("automation")]
    assert "company_cycling_upkeep_every_five_minutes is stopped: what Strava does not tell of is not found" in told
    assert "company_cycling_training_load_automation is stopped: training loads are not computed anew" in told
    assert told[-1].startswith("old runs of ours are not deleted in Dagster: delete_runs is off")
    # All but the last are of ours: eight schedules less two, and a sensor.
    assert all(message.startswith("company_cycling_") for message in told[:-1])
    monkeypatch.setenv("STRAVA_DAGSTER_LOCATION", RUNS)
    assert [finding.message for finding in findings_of("automation")] == ["no schedule or sensor of ours is stopped"]
    assert instance.get_runs() == []


def test_doctor_finds_a_webserver_that_only_reads(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dagster_graphql(instance, loaded(**{RIDES: "cycling"}), read_only=True) as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        verdict, message = told_by("code location")
    assert verdict is Verdict.FAIL
    assert "lets nobody launch runs: start it without --read-only" in message


@pytest.mark.filterwarnings("ignore:Error loading repository location")
def test_a_bridge_takes_no_other_app_for_its_own_while_its_location_is_not_loaded(
    webserver: Loopback,
    instance: dg.DagsterInstance,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("STRAVA_DAGSTER_LOCATION")
    tasks = DagsterTasks(load_settings(), engine)
    with dagster_graphql(instance, loaded(**{RIDES: "cycling"})) as alone:
        webserver.answer = alone.answer
        connect_riders(engine, RIDER + 1)
        with engine.begin() as connection:
            connection.execute(update(users).values(dagster_task="register"))
        assert tasks.run_once() == 2
    with engine.begin() as connection:
        connection.execute(update(users).values(dagster_task="erase", state="revoked"))
    with dagster_graphql(instance, loaded(**{RIDES: "does_not_load"})) as broken:
        webserver.answer = broken.answer
        # It is asked anew after each refusal.
        assert [tasks.run_once(), tasks.run_once()] == [0, 0]
    with dagster_graphql(instance, loaded(**{RIDES: "does_not_load", RUNS: "running"})) as broken:
        webserver.answer = broken.answer
        assert [tasks.run_once(), tasks.run_once()] == [0, 0]
    assert f"set STRAVA_DAGSTER_LOCATION={RUNS}" in caplog.text
    assert instance.get_dynamic_partitions(RUNNING.partition_set) == [str(RIDER)]
    assert instance.get_dynamic_partitions(CYCLING.partition_set) == [str(RIDER), str(RIDER + 1)]


def test_a_bridge_follows_a_location_that_is_renamed(
    instance: dg.DagsterInstance, webserver: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRAVA_DAGSTER_LOCATION")
    monkeypatch.setenv("STRAVA_DAGSTER_KEY_PREFIX", "company/cycling")
    dispatcher = Dispatcher(load_settings(), engine)
    store(engine, 1)
    assert dispatcher.dispatch_once() == 1
    with dagster_graphql(instance, loaded(renamed="cycling")) as renamed:
        webserver.answer = renamed.answer
        store(engine, 2)
        with pytest.raises(DagsterRefused, match="Could not find"):
            dispatcher.dispatch_once()
        assert [event.attempts for event in rows(engine)] == [0, 0]
        change(engine, not_before=LONG_AGO)
        assert dispatcher.dispatch_once() == 1
    launched = [instance.get_run_by_id(str(event.run_id)) for event in rows(engine)]
    assert [told_of(run)[1] for run in launched] == [RIDES, "renamed"]
