"""Dagster: its webserver, our code location there, its daemon, and the database in which it keeps its records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, make_url

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.cli.doctor.instance_blocks import missing_blocks
from strava_pipeline.local.dagster_home import shipped_file
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.names import Job
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.web.request_signature import HEADER
from strava_pipeline_tests.conftest import SETTINGS, opened
from strava_pipeline_tests.doctor_checks import finding_of, findings_of, told_by
from strava_pipeline_tests.placed import PLACE, PlacedLoopback, a_place
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import Asked, Reply, reply
from webhook_bridge.place import Place

GUEST = a_place(
    "sports", "theirs", ["company", "cycling"], jobs=[Job.WEBHOOK_SYNC, Job.UPKEEP, Job.RUN_CHECKS], is_own=False
)
BEAT = {"daemonType": "SENSOR", "required": True, "healthy": True, "lastHeartbeatTime": 1_790_000_000.0}
SILENT = BEAT | {"daemonType": "BACKFILL", "healthy": False}
NEVER = BEAT | {"daemonType": "QUEUED_RUN_COORDINATOR", "healthy": False, "lastHeartbeatTime": None}
NOT_NEEDED = BEAT | {"daemonType": "MONITORING", "required": False, "healthy": False}


class Webserver(PlacedLoopback):
    """Answers the queries of the checks as Dagster does; ``stopped``: the jobs whose schedules are stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.daemons: list[dict[str, Any]] = [BEAT, NOT_NEEDED]
        self.stopped: set[str] = set()
        self.plan: dict[str, Any] = {"__typename": "ExecutionPlan"}
        self.may_launch = True
        self.answer = self._graphql

    def _graphql(self, asked: Asked) -> Reply:
        query = json.loads(asked.body)["query"]
        assert "mutation" not in query
        if "daemonHealth" in query:
            answer: dict[str, Any] = {
                "__typename": "Instance",
                "daemonHealth": {"allDaemonStatuses": self.daemons},
            }
        elif "executionPlanOrError" in query:
            answer = self.plan
        elif "permissions" in query:
            permissions = [{"permission": "launch_pipeline_execution", "value": self.may_launch}]
            answer = {"__typename": "WorkspaceLocationEntry", "permissions": permissions}
        elif "schedules" in query:
            answer = {"__typename": "Repository", "schedules": self._schedules(), "sensors": []}
        else:
            answer = {"__typename": "RepositoryConnection"}
        return reply({"data": {"answer": answer}})

    def _schedules(self) -> list[dict[str, Any]]:
        names = self.places[0].names
        return [
            {
                "name": names.schedule(f"{job}_now_and_then"),
                "pipelineName": names.job(job),
                "scheduleState": {"status": "STOPPED" if job in self.stopped else "RUNNING"},
            }
            for job in sorted(self.places[0].jobs)
        ]


@pytest.fixture
def webserver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webserver]:
    with Webserver() as server:
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", server.url)
        yield server


def test_a_dagster_that_is_well_is_asked_with_a_signature(webserver: Webserver) -> None:
    assert told_by("webserver") == (Verdict.OK, f"{webserver.url} answers")
    assert told_by("code location") == (Verdict.OK, f"{PLACE}: strava_webhook_sync can be launched")
    assert told_by("automation") == (Verdict.OK, "no schedule or sensor of ours is stopped")
    assert told_by("daemon") == (Verdict.OK, "1 alive: sensor")
    assert len(webserver.asked) == 5
    assert all(HEADER in asked.headers for asked in webserver.asked)


def test_a_proxys_header_goes_with_the_dry_run(webserver: Webserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_HEADER", "Authorization: Bearer canary-of-the-proxy")
    assert told_by("code location")[0] is Verdict.OK
    assert {asked.headers.get("Authorization") for asked in webserver.asked} == {"Bearer canary-of-the-proxy"}


def test_a_header_that_others_could_read_on_its_way_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_HEADER", "Authorization: Bearer canary-of-the-proxy")
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster-webserver:3000")
    verdict, message = told_by("webserver")
    assert verdict is Verdict.FAIL
    assert message.startswith("STRAVA_DAGSTER_HEADER would go to dagster-webserver over plain http")


def test_a_guest_is_found_by_the_names_that_it_has(webserver: Webserver) -> None:
    webserver.places = [GUEST]
    assert told_by("code location") == (
        Verdict.OK,
        "location sports, repository theirs, prefix company/cycling: company_cycling_webhook_sync can be launched",
    )
    planned = json.loads(webserver.asked[0].body)["variables"]
    assert planned["params"]["repositoryLocationName"] == "sports"
    assert planned["config"] == {"ops": {"company_cycling_claimed_objects": {"config": {"fences": [0]}}}}


@pytest.mark.parametrize(
    ("places", "errors", "says"),
    [
        ([], {"theirs": ""}, "has our jobs: load this release of strava_pipeline in one"),
        ([], {}, "to the Dagster that has it; this one has none"),
        ([], {"ours": "ImportError: no x", "theirs": ""}, "this one has ours, not loaded: ImportError: no x; theirs"),
        ([PLACE, GUEST], {}, "has our jobs more than once: set STRAVA_DAGSTER_LOCATION to one of: "),
    ],
    ids=["of others alone", "none", "not loaded", "two"],
)
def test_a_webserver_without_one_place_of_ours_is_a_fault(
    webserver: Webserver, places: list[Place], errors: dict[str, str], says: str
) -> None:
    webserver.places, webserver.errors = places, errors
    finding = finding_of("code location")
    assert finding.verdict is Verdict.FAIL
    assert says in finding.message
    # The message says what to do.
    assert finding.what_to_do == ""


def test_a_job_that_cannot_be_launched_is_a_fault(webserver: Webserver) -> None:
    webserver.plan = {"__typename": "PythonError", "message": "the code server is gone"}
    finding = finding_of("code location")
    assert (finding.verdict, finding.message) == (Verdict.FAIL, "Dagster refused: the code server is gone")
    assert finding.what_to_do
    webserver.plan, webserver.may_launch = {"__typename": "ExecutionPlan"}, False
    assert "lets nobody launch runs" in told_by("code location")[1]


def test_what_stands_still_is_told_with_what_that_means(webserver: Webserver) -> None:
    webserver.places, webserver.stopped = [GUEST], {Job.UPKEEP, Job.RUN_CHECKS}
    told = findings_of("automation")
    assert [(finding.verdict, finding.message) for finding in told] == [
        (Verdict.WARN, "company_cycling_run_checks_now_and_then is stopped: checks are not reported"),
        (Verdict.WARN, "company_cycling_upkeep_now_and_then is stopped: what Strava does not tell of is not found"),
        (
            Verdict.OK,
            "old runs of ours are not deleted in Dagster: delete_runs is off, as by default for a guest",
        ),
    ]


def test_a_deployment_of_our_own_that_deletes_no_old_runs_is_worth_a_look(webserver: Webserver) -> None:
    webserver.places = [a_place(jobs=[Job.WEBHOOK_SYNC])]
    assert [finding.verdict for finding in findings_of("automation")] == [Verdict.OK, Verdict.WARN]


def test_each_daemon_without_a_sign_of_life_is_a_fault(webserver: Webserver) -> None:
    webserver.daemons = [BEAT, SILENT, NEVER]
    told = findings_of("daemon")
    assert [finding.verdict for finding in told] == [Verdict.FAIL, Verdict.FAIL]
    assert told[0].message == "BACKFILL gives no sign of life (last at 2026-09-21 14:13:20 UTC)"
    assert told[1].message == "QUEUED_RUN_COORDINATOR gives no sign of life (never)"
    assert "dagster-daemon" in told[0].what_to_do
    webserver.daemons = [NOT_NEEDED]
    assert told_by("daemon")[0] is Verdict.WARN


def test_a_webserver_that_is_away_or_keeps_us_out_is_a_fault(
    webserver: Webserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webserver.answers(Reply(401))
    kept_out = finding_of("webserver")
    assert kept_out.verdict is Verdict.FAIL
    assert "STRAVA_TOKEN_KEYS" in kept_out.message
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://127.0.0.1:{free_port()}")
    away = finding_of("webserver")
    assert away.verdict is Verdict.FAIL
    assert away.what_to_do == "start strava-pipeline up, or your Dagster, and check DAGSTER_WEBSERVER_URL"


def test_a_dagster_of_the_operators_own_needs_its_folder(tmp_path: Path) -> None:
    finding = finding_of("Dagster's folder", load_settings(dagster_home=tmp_path / "nowhere"))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == f"DAGSTER_HOME: {tmp_path}/nowhere is missing"
    told, lacks = findings_of("Dagster's folder", load_settings(dagster_home=tmp_path))
    defaults = f"{tmp_path}, by DAGSTER_HOME, with Dagster's defaults: dagster.yaml is not there"
    assert (told.verdict, told.message) == (Verdict.OK, defaults)
    assert lacks.verdict is Verdict.WARN
    (tmp_path / "dagster.yaml").write_text(shipped_file("dagster.yaml").read_text())
    assert told_by("Dagster's folder", load_settings(dagster_home=tmp_path))[0] is Verdict.OK
    settings = load_settings()
    assert told_by("Dagster's folder", settings)[0] is Verdict.OK
    assert not settings.home.exists()


@pytest.mark.parametrize(
    ("instance", "lacking"),
    [
        ("", "run_monitoring; concurrency: pools: granularity: run; retention"),
        (
            "run_monitoring: {start_timeout_seconds: 60}\nretention: {schedule: {purge_after_days: 9}}",
            "run_monitoring; concurrency: pools: granularity: run",
        ),
        (
            "run_monitoring: {enabled: true}\nconcurrency: {pools: {granularity: op}}",
            "concurrency: pools: granularity: run; retention",
        ),
        ("run_monitoring: {enabled: true}\nconcurrency: {pools: {granularity: run}}", "retention"),
    ],
    ids=["all", "not switched on", "pools by step", "retention"],
)
def test_blocks_that_a_hosts_dagster_yaml_lacks_are_one_line(tmp_path: Path, instance: str, lacking: str) -> None:
    (tmp_path / "dagster.yaml").write_text(instance)
    _, finding = findings_of("Dagster's folder", load_settings(dagster_home=tmp_path))
    assert (finding.verdict, finding.message) == (Verdict.WARN, f"dagster.yaml lacks {lacking}")
    assert "docs/storage.md#a-dagsteryaml-of-your-own" in finding.what_to_do


def test_a_dagster_yaml_that_dagster_refuses_is_said_to_lack_nothing(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("retention: [")
    assert told_by("Dagster's folder", load_settings(dagster_home=tmp_path))[0] is Verdict.OK


def test_the_example_has_all_blocks() -> None:
    assert missing_blocks(Path(__file__).parents[3] / "examples" / "existing-deployment" / "dagster.yaml") == []


def test_a_database_of_dagster_that_is_not_there_is_told_and_not_made(settings: Settings, server: Server) -> None:
    verdict, message = told_by("Dagster's database", settings)
    assert verdict is Verdict.WARN
    assert "strava-pipeline up or migrate makes it" in message
    assert "CREATE DATABASE" in message
    assert told_by("Dagster's database", settings)[0] is Verdict.WARN


def test_a_container_without_dagsters_database_is_not_asked_for_it(settings: Settings) -> None:
    apart = settings.model_copy(update={"data_in_home": False})
    assert apart.dagster_postgres_url is None
    told = "not looked at: this container has no DAGSTER_POSTGRES_URL, and a bridge needs none"
    assert told_by("Dagster's database", apart) == (Verdict.OK, told)


def test_a_dagster_of_the_operators_own_names_its_storage_itself(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    theirs = settings.model_copy(update={"dagster_home": tmp_path})
    told = f"not looked at: Dagster in {tmp_path} has another storage than ours"
    assert told_by("Dagster's database", theirs) == (Verdict.OK, told)


def test_a_database_in_which_dagster_may_make_no_tables_is_a_fault_and_one_of_its_own_is_none(
    settings: Settings, server: Server, empty_database: str, dagster_database: str
) -> None:
    theirs = make_url(server.url(str(make_url(empty_database).database), Login.PIPELINE))
    closed = Settings(dagster_postgres_url=theirs.render_as_string(hide_password=False))
    verdict, message = told_by("Dagster's database", closed)
    assert verdict is Verdict.FAIL
    assert "may not make its tables" in message
    assert (
        f'in that database, run GRANT CONNECT, TEMPORARY ON DATABASE "{theirs.database}" TO "strava_pipeline"'
        in message
    )
    assert told_by("Dagster's database", Settings(dagster_postgres_url=dagster_database))[0] is Verdict.OK
    with opened(parse_url(dagster_database, "it")) as engine:
        assert inspect(engine).get_table_names() == []
