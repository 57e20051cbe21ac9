"""The processes behind ``up`` and ``demo``: their commands, logs, secrets, and where they answer when ready."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from strava_pipeline.local.dagster_home import shipped_file
from strava_pipeline.local.supervisor import Service
from strava_pipeline.local.work_folder import work_folder
from strava_pipeline.settings import secret_variables

LOOPBACK = "127.0.0.1"
# Code locations and runs have what these two hand on: they are their children.
DAEMON_SECRETS = frozenset({
    "DAGSTER_POSTGRES_URL", "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_URL", "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
})  # fmt: skip
WEBSERVER_SECRETS = DAEMON_SECRETS | {"STRAVA_OPERATOR_TOKEN"}
BRIDGE_SECRETS = frozenset({
    "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_REPLICA_URL", "STRAVA_DATABASE_URL", "STRAVA_OPERATOR_TOKEN",
    "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS", "STRAVA_WEBHOOK_PATH_TOKEN", "STRAVA_WEBHOOK_SIGNING_SECRETS",
    "STRAVA_WEBHOOK_VERIFY_TOKEN",
})  # fmt: skip


def logs_of(home: Path) -> Path:
    """Where the services write their logs."""
    return home / "logs"


def dagster_services(home: Path, listener: socket.socket, environment: Mapping[str, str]) -> list[Service]:
    """Dagster's webserver behind the guard, and its daemon."""
    descriptor = listener.fileno()
    workspace = ("-w", str(shipped_file("workspace.yaml")))
    webserver = ("strava_pipeline", "dagster-webserver", "--fd", str(descriptor), *workspace)
    return [
        Service(
            "dagster-webserver",
            _python(*webserver),
            logs_of(home) / "dagster-webserver.log",
            _with_secrets(environment, WEBSERVER_SECRETS),
            ready_url=_health_at(listener),
            folder=work_folder(home),
            descriptors=(descriptor,),
        ),
        Service(
            "dagster-daemon",
            _python("dagster._daemon", "run", *workspace),
            logs_of(home) / "dagster-daemon.log",
            _with_secrets(environment, DAEMON_SECRETS),
            folder=work_folder(home),
        ),
    ]


def bridge(home: Path, listener: socket.socket, environment: Mapping[str, str]) -> Service:
    """The webhook bridge."""
    descriptor = listener.fileno()
    return Service(
        "bridge",
        _python("strava_pipeline", "bridge", "--fd", str(descriptor)),
        logs_of(home) / "bridge.log",
        _with_secrets(environment, BRIDGE_SECRETS),
        ready_url=_health_at(listener),
        folder=work_folder(home),
        descriptors=(descriptor,),
    )


def mock_strava(home: Path, port: int, environment: Mapping[str, str]) -> Service:
    """The Strava look-alike."""
    return Service(
        "mock-strava",
        _python("strava_pipeline", "mock-strava", "--port", str(port)),
        logs_of(home) / "mock-strava.log",
        environment,
        ready_url=f"http://{LOOPBACK}:{port}/mock/athletes",
        folder=work_folder(home),
    )


def _health_at(listener: socket.socket) -> str:
    return f"http://{LOOPBACK}:{listener.getsockname()[1]}/health/ready"


def _with_secrets(environment: Mapping[str, str], needed: frozenset[str]) -> dict[str, str]:
    """The environment without other secrets than those, should they stand in ours as well: what is empty is not set."""
    return dict(environment) | dict.fromkeys(secret_variables() - needed, "")


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
