"""The services that ``up`` and ``demo`` start: their commands, logs, secrets and readiness checks."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from strava_pipeline.local.dagster_home import shipped_file
from strava_pipeline.local.supervisor import Service
from strava_pipeline.local.work_folder import make_work_folder
from strava_pipeline.settings import HomeEntry, secret_variables

LOOPBACK = "127.0.0.1"
# Code locations and runs are children of the daemon and the webserver, and inherit their secrets.
DAEMON_SECRETS = frozenset({
    "DAGSTER_POSTGRES_URL", "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_URL", "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
})  # fmt: skip
WEBSERVER_SECRETS = DAEMON_SECRETS | {"STRAVA_OPERATOR_TOKEN"}
BRIDGE_SECRETS = frozenset({
    "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_REPLICA_URL", "STRAVA_DATABASE_URL", "STRAVA_OPERATOR_TOKEN",
    "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS", "STRAVA_WEBHOOK_PATH_TOKEN", "STRAVA_WEBHOOK_SIGNING_SECRETS",
    "STRAVA_WEBHOOK_VERIFY_TOKEN",
})  # fmt: skip


def log_folder(home: Path) -> Path:
    """Return the folder of the services' logs."""
    return home / HomeEntry.LOGS


def dagster_services(home: Path, listener: socket.socket, environment: Mapping[str, str]) -> list[Service]:
    """Return the services for Dagster: its webserver behind the guard, and its daemon."""
    descriptor = listener.fileno()
    workspace = ("-w", str(shipped_file("workspace.yaml")))
    webserver = ("strava_pipeline", "dagster-webserver", "--fd", str(descriptor), *workspace)
    return [
        Service(
            "dagster-webserver",
            _python(*webserver),
            log_folder(home) / "dagster-webserver.log",
            _with_secrets(environment, WEBSERVER_SECRETS),
            ready_url=_health_at(listener),
            folder=make_work_folder(home),
            descriptors=(descriptor,),
        ),
        Service(
            "dagster-daemon",
            _python("dagster._daemon", "run", *workspace),
            log_folder(home) / "dagster-daemon.log",
            _with_secrets(environment, DAEMON_SECRETS),
            folder=make_work_folder(home),
        ),
    ]


def bridge_service(home: Path, listener: socket.socket, environment: Mapping[str, str]) -> Service:
    """Return the service for the webhook bridge."""
    descriptor = listener.fileno()
    return Service(
        "bridge",
        _python("strava_pipeline", "bridge", "--fd", str(descriptor)),
        log_folder(home) / "bridge.log",
        _with_secrets(environment, BRIDGE_SECRETS),
        ready_url=_health_at(listener),
        folder=make_work_folder(home),
        descriptors=(descriptor,),
    )


def mock_strava_service(home: Path, port: int, environment: Mapping[str, str]) -> Service:
    """Return the service for the mock Strava."""
    return Service(
        "mock-strava",
        _python("strava_pipeline", "mock-strava", "--port", str(port)),
        log_folder(home) / "mock-strava.log",
        environment,
        ready_url=f"http://{LOOPBACK}:{port}/mock/athletes",
        folder=make_work_folder(home),
    )


def _health_at(listener: socket.socket) -> str:
    return f"http://{LOOPBACK}:{listener.getsockname()[1]}/health/ready"


def _with_secrets(environment: Mapping[str, str], needed: frozenset[str]) -> dict[str, str]:
    """Return an environment with the ``needed`` secrets only.

    All others are set to empty, which counts as unset, since a service also inherits our own environment.
    """
    return dict(environment) | dict.fromkeys(secret_variables() - needed, "")


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
