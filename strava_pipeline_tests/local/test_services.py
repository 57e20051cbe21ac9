"""Which of our secrets the processes behind ``up`` are started with."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from strava_pipeline.local.code_server import new_code_server
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.services import bridge_service, code_server_service, dagster_services
from strava_pipeline.local.supervisor import Supervisor
from strava_pipeline.settings import secret_variables
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

FOR_RUNS = {
    "DAGSTER_POSTGRES_URL", "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_URL", "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
}  # fmt: skip
FOR_PAGES = {
    "STRAVA_CLIENT_SECRET", "STRAVA_DAGSTER_HEADER", "STRAVA_DATABASE_REPLICA_URL", "STRAVA_DATABASE_URL",
    "STRAVA_OPERATOR_TOKEN", "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
}  # fmt: skip
FOR_THE_GUARD = {"STRAVA_DATABASE_URL", "STRAVA_OPERATOR_TOKEN", "STRAVA_TOKEN_KEYS"}
FOR_MONITORING = {"STRAVA_ALERT_URLS", "STRAVA_HEARTBEAT_URL", "STRAVA_METRICS_TOKEN"}
FOR_WEBHOOKS = {"STRAVA_WEBHOOK_PATH_TOKEN", "STRAVA_WEBHOOK_SIGNING_SECRETS", "STRAVA_WEBHOOK_VERIFY_TOKEN"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("code-server", FOR_RUNS),
        ("dagster-webserver", FOR_THE_GUARD | {"DAGSTER_POSTGRES_URL"}),
        ("dagster-daemon", {"DAGSTER_POSTGRES_URL"}),
        ("bridge", FOR_PAGES | FOR_MONITORING | FOR_WEBHOOKS),
    ],
)
def test_a_service_has_no_secret_that_it_has_no_use_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wanted: set[str]
) -> None:
    for variable in secret_variables():
        monkeypatch.setenv(variable, "of our environment")
    # What `up` puts there for Dagster.
    given = {"STRAVA_HOME": str(tmp_path), "DAGSTER_POSTGRES_URL": "of up", "STRAVA_DATABASE_URL": "of up"}
    waiting = (sys.executable, "-c", "import time; time.sleep(600)")
    with open_listener("127.0.0.1", 0, "the test") as listener, Supervisor() as supervisor:
        server = new_code_server(tmp_path)
        services = [
            code_server_service(tmp_path, server, given),
            *dagster_services(tmp_path, listener, server.workspace, given),
            bridge_service(tmp_path, listener, given),
        ]
        [service] = [service for service in services if service.name == name]
        supervisor.start(replace(service, command=waiting))
        [running] = supervisor._running
        environment = psutil.Process(running.process.pid).environ()
    assert {variable for variable in secret_variables() if environment.get(variable)} == wanted
    assert environment["DAGSTER_POSTGRES_URL" if name.startswith("dagster") else "STRAVA_DATABASE_URL"] == "of up"
    assert environment["STRAVA_HOME"] == str(tmp_path)


def test_every_secret_is_known_to_be_one() -> None:
    assert secret_variables() >= FOR_RUNS | FOR_PAGES | FOR_WEBHOOKS
    assert {"STRAVA_SQL_DATABASE_URL", "STRAVA_ANALYST_DATABASE_URL", "STRAVA_DATABASE_OWNER_URL"} <= secret_variables()
    assert not {"STRAVA_HOME", "STRAVA_CLIENT_ID", "DAGSTER_HOME"} & secret_variables()


def test_the_daemon_is_dagsters_own_command_from_our_environment(tmp_path: Path) -> None:
    with open_listener("127.0.0.1", 0, "the test") as listener:
        server = new_code_server(tmp_path)
        daemon = dagster_services(tmp_path, listener, server.workspace, {})[1]
    interpreter, script, *arguments = daemon.command
    assert interpreter == sys.executable
    assert Path(script).name == "dagster-daemon"
    told = subprocess.check_output([interpreter, script, "run", "--help"], text=True, timeout=PATIENCE_SECONDS)
    assert "Run any daemons" in told
    assert arguments == ["run", "-w", str(server.workspace)]


@pytest.mark.parametrize(("form", "options"), [("json", 2), ("text", 0)])
def test_a_program_of_dagsters_own_writes_json_if_ours_do(tmp_path: Path, form: str, options: int) -> None:
    with open_listener("127.0.0.1", 0, "the test") as listener:
        server = new_code_server(tmp_path)
        daemon = dagster_services(tmp_path, listener, server.workspace, {"STRAVA_LOG_FORMAT": form})[1]
    assert sum(part in ("--log-format", "json") for part in daemon.command) == options
