"""Which of our secrets the processes behind ``up`` are started with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.services import bridge_service, dagster_services
from strava_pipeline.local.supervisor import Supervisor
from strava_pipeline.settings import secret_variables

FOR_RUNS = {
    "DAGSTER_POSTGRES_URL", "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_URL", "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
}  # fmt: skip
FOR_PAGES = {
    "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_REPLICA_URL", "STRAVA_DATABASE_URL", "STRAVA_OPERATOR_TOKEN",
    "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
}  # fmt: skip
FOR_WEBHOOKS = {"STRAVA_WEBHOOK_PATH_TOKEN", "STRAVA_WEBHOOK_SIGNING_SECRETS", "STRAVA_WEBHOOK_VERIFY_TOKEN"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("dagster-webserver", FOR_RUNS | {"STRAVA_OPERATOR_TOKEN"}),
        ("dagster-daemon", FOR_RUNS),
        ("bridge", FOR_PAGES | FOR_WEBHOOKS),
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
        services = [*dagster_services(tmp_path, listener, given), bridge_service(tmp_path, listener, given)]
        [service] = [service for service in services if service.name == name]
        supervisor.start(replace(service, command=waiting))
        [(_, process)] = supervisor._running
        environment = psutil.Process(process.pid).environ()
    assert {variable for variable in secret_variables() if environment.get(variable)} == wanted
    assert environment["STRAVA_DATABASE_URL"] == "of up"
    assert environment["STRAVA_HOME"] == str(tmp_path)


def test_every_secret_is_known_to_be_one() -> None:
    assert secret_variables() >= FOR_RUNS | FOR_PAGES | FOR_WEBHOOKS
    assert {"STRAVA_SQL_DATABASE_URL", "STRAVA_ANALYST_DATABASE_URL", "STRAVA_DATABASE_OWNER_URL"} <= secret_variables()
    assert not {"STRAVA_HOME", "STRAVA_CLIENT_ID", "DAGSTER_HOME"} & secret_variables()
