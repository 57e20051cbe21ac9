"""Commands open the storage of our own Dagster only; a host's Dagster is asked through its webserver."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from sqlalchemy import Engine

from strava_pipeline.cli import cli, hosts_backfill
from strava_pipeline.cli.athlete_in_dagster import AthleteInDagster
from strava_pipeline.cli.backfill_runs import BackfillFailed
from strava_pipeline.cli.hosts_backfill import assets_there, run_in_hosts_dagster
from strava_pipeline.cli.whose_dagster import hosts_dagster
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.dagster_home import INSTANCE_FILE, shipped_file
from strava_pipeline.local.postgres import Server
from strava_pipeline.months import parse_month
from strava_pipeline.names import Asset, Names
from strava_pipeline.planned_runs import PlannedRun
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline_tests.cli.host_location import PREFIX
from strava_pipeline_tests.dagster_graphql_server import dagster_graphql
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.strava.loopback import Loopback, reply
from webhook_bridge.dagster_place import NoPlace
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.followed_run import status_of_run

RIDER = 1001
HOST = Names(PREFIX)
MAY = parse_month("2026-05")
RUN = PlannedRun((Asset.ACTIVITIES,), MAY, MAY)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The host's instance, whose runs stay in the queue until a test says how each ends."""
    with dg.instance_for_test() as instance:
        # It is the webserver's; the commands are not told of its folder.
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        yield instance


@pytest.fixture
def webserver(instance: dg.DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    code = LoadableTargetOrigin(module_name="strava_pipeline_tests.cli.host_location")
    origin = InProcessCodeLocationOrigin(code, location_name="the host's")
    with dagster_graphql(instance, InProcessWorkspaceLoadTarget(origin)) as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield loopback


@pytest.fixture
def host(webserver: Loopback) -> DagsterServer:
    found = hosts_dagster(load_settings())
    assert found is not None
    return found


@pytest.fixture
def hosts_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's instance folder, with its storage in SQLite."""
    home = tmp_path / "hosts"
    home.mkdir()
    (home / INSTANCE_FILE).write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """No webserver answers."""
    with Loopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)


def nothing_lacks(_: object) -> str:
    return ""


def test_a_file_that_is_no_yaml_is_nobodys(hosts_home: Path, nobody: None) -> None:
    (hosts_home / INSTANCE_FILE).write_text("nonsense: [")
    with pytest.raises(ConfigurationError, match=f"{hosts_home / INSTANCE_FILE} is not usable: "):
        hosts_dagster(load_settings())


def test_without_a_webserver_dagster_is_our_own(nobody: None) -> None:
    assert hosts_dagster(load_settings()) is None


def test_a_folder_with_our_storage_is_our_own(hosts_home: Path, nobody: None) -> None:
    (hosts_home / INSTANCE_FILE).write_text(shipped_file(INSTANCE_FILE).read_text())
    assert hosts_dagster(load_settings()) is None


@pytest.mark.parametrize(
    "storage",
    [
        "{}",
        "# as once with DAGSTER_POSTGRES_URL, and strava_pipeline.defs.dagster_storage\ntelemetry: {enabled: false}",
        "storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES_URL}}}",
        "storage: {custom: {module: theirs, class: Theirs, config: {url: {env: DAGSTER_POSTGRES_URL}}}}",
    ],
)
def test_a_folder_with_another_storage_needs_its_webserver(hosts_home: Path, nobody: None, storage: str) -> None:
    (hosts_home / INSTANCE_FILE).write_text(storage)
    with pytest.raises(DagsterUnavailable, match="gave no usable answer"):
        hosts_dagster(load_settings())
    assert [path.name for path in hosts_home.iterdir()] == [INSTANCE_FILE]


def test_a_folder_with_dagsters_defaults_needs_its_webserver(hosts_home: Path, nobody: None) -> None:
    (hosts_home / INSTANCE_FILE).unlink()
    with pytest.raises(DagsterUnavailable, match="gave no usable answer"):
        hosts_dagster(load_settings())
    assert list(hosts_home.iterdir()) == []


def test_a_folder_that_is_not_there_is_nobodys(nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    assert hosts_dagster(load_settings()) is None


def test_a_webserver_elsewhere_that_does_not_answer_is_not_replaced_by_a_storage_of_ours(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster.internal:1")
    with pytest.raises(DagsterUnavailable):
        hosts_dagster(load_settings())


def test_a_webserver_without_our_jobs_is_a_hosts_where_no_instance_of_ours_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"data": {"answer": {"__typename": "Workspace", "locationEntries": []}}}
    with Loopback() as loopback:
        loopback.answer = lambda _: reply(nothing)
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        with pytest.raises(NoPlace):
            hosts_dagster(load_settings())
        ours = settings.home / "dagster"
        ours.mkdir(parents=True)
        (ours / INSTANCE_FILE).write_text(shipped_file(INSTANCE_FILE).read_text())
        assert hosts_dagster(load_settings()) is None


def test_without_what_our_storage_is_made_with_dagster_is_a_hosts(
    nobody: None, engine: Engine, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    with pytest.raises(DagsterUnavailable, match="gave no usable answer"):
        hosts_dagster(load_settings())
    assert_migrate_makes_no_database_for_dagster(server, database_name, monkeypatch)


def test_migrate_does_not_wait_for_a_webserver_elsewhere(
    settings: Settings, engine: Engine, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster.internal:1")
    assert_migrate_makes_no_database_for_dagster(server, database_name, monkeypatch)


def assert_migrate_makes_no_database_for_dagster(
    server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.set_up_url(database_name))
    shown = CliRunner().invoke(cli, ["migrate"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "Dagster is not the pipeline's own: its storage stays as it is" in shown.output


def test_a_webserver_whose_location_is_ours_is_our_own(
    instance: dg.DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would change how this process logs for all tests after this one.
    monkeypatch.setattr("strava_pipeline.definitions.write_consoles", lambda form: None)
    code = LoadableTargetOrigin(module_name="strava_pipeline.definitions", attribute="own_process_defs")
    origin = InProcessCodeLocationOrigin(code, location_name="strava_pipeline")
    with dagster_graphql(instance, InProcessWorkspaceLoadTarget(origin)) as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        assert hosts_dagster(load_settings()) is None


def test_migrate_makes_no_database_for_a_hosts_dagster(
    webserver: Loopback, engine: Engine, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_migrate_makes_no_database_for_dagster(server, database_name, monkeypatch)


def test_migrate_makes_the_tables_before_a_hosts_webserver_is_there(
    hosts_home: Path, nobody: None, engine: Engine, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_migrate_makes_no_database_for_dagster(server, database_name, monkeypatch)


def test_an_athlete_gets_and_loses_partitions_and_runs_of_ours_alone(
    webserver: Loopback, instance: dg.DagsterInstance
) -> None:
    theirs = create_run_for_test(instance, tags={"dagster/partition": str(RIDER)}, status=dg.DagsterRunStatus.SUCCESS)
    ours = create_run_for_test(
        instance,
        tags={HOST.athlete_tag: str(RIDER)} | HOST.job_tags("import_history"),
        status=dg.DagsterRunStatus.SUCCESS,
    )
    with AthleteInDagster.opened(load_settings()) as dagster:
        dagster.add(RIDER)
        dagster.add(RIDER)
        assert instance.get_dynamic_partitions(HOST.partition_set) == [str(RIDER)]
        assert dagster.delete_runs(RIDER) == 0
        dagster.remove(RIDER)
        dagster.remove(RIDER)
    assert instance.get_dynamic_partitions(HOST.partition_set) == []
    assert {run.run_id for run in instance.get_runs()} == {theirs.run_id}
    assert ours.run_id != theirs.run_id


@pytest.mark.parametrize(("keeping", "told"), [([], 1), (["--keep-data"], 0)], ids=["all data", "data kept"])
def test_a_disconnect_tells_that_runs_of_the_hosts_own_assets_stay(
    webserver: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch, keeping: list[str], told: int
) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "of-the-app")
    grant = TokenGrant(Secret("access"), Secret("refresh"), None, {"id": RIDER})
    open_tokens(load_settings(), engine).connect(grant, ["read", "activity:read_all"])
    with Loopback() as strava:
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{strava.url}/oauth")
        shown = CliRunner().invoke(cli, ["athletes", "disconnect", str(RIDER), "--yes", *keeping])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("runs that made assets of others stay in it") == told


def test_a_backfill_waits_for_each_run_in_the_hosts_dagster(
    host: DagsterServer,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(hosts_backfill, "LOOK_EVERY_SECONDS", 0.01)
    ends(instance, monkeypatch, dg.DagsterRunStatus.SUCCESS)
    run_in_hosts_dagster(host, RIDER, [RUN, RUN], nothing_lacks)
    runs = instance.get_runs()
    assert [run.asset_selection for run in runs] == [{dg.AssetKey(HOST.asset_path(Asset.ACTIVITIES))}] * 2
    assert all(run.tags[HOST.athlete_tag] == str(RIDER) for run in runs)
    assert instance.get_dynamic_partitions(HOST.partition_set) == [str(RIDER)]
    assert capsys.readouterr().out.count("success  activities 2026-05 to 2026-05") == 2


def test_a_run_that_fails_ends_the_backfill_and_is_named(
    host: DagsterServer, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts_backfill, "LOOK_EVERY_SECONDS", 0.01)
    ends(instance, monkeypatch, dg.DagsterRunStatus.FAILURE)
    with pytest.raises(BackfillFailed, match=f"ended with failure: see {host.url}/runs/"):
        run_in_hosts_dagster(host, RIDER, [RUN, RUN], nothing_lacks)
    assert len(instance.get_runs()) == 1


def test_what_months_still_lack_is_told_at_the_end(
    host: DagsterServer, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts_backfill, "LOOK_EVERY_SECONDS", 0.01)
    ends(instance, monkeypatch, dg.DagsterRunStatus.SUCCESS)
    with pytest.raises(BackfillFailed, match="2 details are missing; the same command tries them again"):
        run_in_hosts_dagster(host, RIDER, [RUN], lambda _: "2 details are missing")


def test_a_webserver_that_stays_away_leaves_the_run_to_itself(
    host: DagsterServer, webserver: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts_backfill, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(hosts_backfill, "MOST_LOOKS_IN_VAIN", 3)

    def away(*_: object) -> str:
        raise DagsterUnavailable("Dagster does not answer")

    monkeypatch.setattr(hosts_backfill, "status_of_run", away)
    with pytest.raises(BackfillFailed, match="Dagster does not answer: its run goes on"):
        run_in_hosts_dagster(host, RIDER, [RUN], nothing_lacks)


def test_what_the_host_left_out_is_refused_only_where_a_person_named_it(host: DagsterServer) -> None:
    assert assets_there(host, [Asset.ACTIVITIES, "left_out"], is_default=True) == [Asset.ACTIVITIES]
    with pytest.raises(ConfigurationError, match="--assets: left_out is left out of this Dagster's definitions"):
        assets_there(host, [Asset.ACTIVITIES, "left_out"], is_default=False)
    with pytest.raises(ConfigurationError, match="--assets: this Dagster's definitions have none of left_out"):
        assets_there(host, ["left_out"], is_default=True)


def test_a_signal_ends_the_run_at_work(
    host: DagsterServer, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = list[str]()
    launched = threading.Event()

    def status(_: object, run_id: str) -> str:
        launched.set()
        return "STARTED"

    monkeypatch.setattr(hosts_backfill, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(hosts_backfill, "status_of_run", status)
    monkeypatch.setattr(hosts_backfill, "terminate_run", lambda _, run_id: ended.append(run_id))
    instance.add_dynamic_partitions(HOST.partition_set, [str(RIDER)])
    work = hosts_backfill._Work(host, RIDER)
    thread = threading.Thread(target=work.result, args=(RUN,))
    thread.start()
    try:
        assert launched.wait(PATIENCE_SECONDS)
        assert work.stop(2) == "interrupted; what is stored is kept: run the same command to go on from there"
        thread.join(PATIENCE_SECONDS)
    finally:
        stop_wanted.clear()
    assert ended == [run.run_id for run in instance.get_runs()]


def test_the_command_works_in_the_hosts_dagster(
    webserver: Loopback, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "of-the-app")
    monkeypatch.setattr(hosts_backfill, "LOOK_EVERY_SECONDS", 0.01)
    ends(instance, monkeypatch, dg.DagsterRunStatus.SUCCESS)
    grant = TokenGrant(Secret("access"), Secret("refresh"), None, {"id": RIDER})
    open_tokens(load_settings(), engine).connect(grant, ["read", "activity:read_all"])
    command = ["backfill", "--athlete", str(RIDER), "--from", "2026-05", "--to", "2026-06", "--assets", "activities"]
    shown = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "success  activities 2026-05 to 2026-06" in shown.output
    (run,) = instance.get_runs()
    assert run.job_name == "__ASSET_JOB"


def ends(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus) -> None:
    """Have each run end so as soon as somebody looks at it."""

    def end_and_look(dagster: DagsterServer, run_id: str) -> str:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        if status is dg.DagsterRunStatus.SUCCESS:
            instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name), run_id)
        else:
            instance.report_run_failed(run)
        return status_of_run(dagster, run_id)

    monkeypatch.setattr(hosts_backfill, "status_of_run", end_and_look)
