"""The services that ``up`` and ``demo`` start: their commands, logs, secrets and readiness checks."""

from __future__ import annotations

import socket
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from strava_pipeline.home import HomeEntry
from strava_pipeline.local.code_server import CodeServer
from strava_pipeline.local.supervisor import Service
from strava_pipeline.local.work_folder import LOG_FORMAT, make_work_folder
from strava_pipeline.log_lines import LogFormatName
from strava_pipeline.settings import secret_variables

LOOPBACK = "127.0.0.1"
# Runs are children of the code server, and inherit its secrets.
CODE_SERVER_SECRETS = frozenset({
    "DAGSTER_POSTGRES_URL", "STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_URL", "STRAVA_SMTP_URL", "STRAVA_TOKEN_KEYS",
})  # fmt: skip
DAEMON_SECRETS = frozenset({"DAGSTER_POSTGRES_URL"})
# The guard reads the operator's sessions.
WEBSERVER_SECRETS = DAEMON_SECRETS | {"STRAVA_DATABASE_URL", "STRAVA_OPERATOR_TOKEN", "STRAVA_TOKEN_KEYS"}
BRIDGE_SECRETS = frozenset({
    "STRAVA_ALERT_URLS", "STRAVA_CLIENT_SECRET", "STRAVA_DAGSTER_HEADER", "STRAVA_DATABASE_REPLICA_URL",
    "STRAVA_DATABASE_URL", "STRAVA_HEARTBEAT_URL", "STRAVA_METRICS_TOKEN", "STRAVA_OPERATOR_TOKEN", "STRAVA_SMTP_URL",
    "STRAVA_TOKEN_KEYS", "STRAVA_WEBHOOK_PATH_TOKEN", "STRAVA_WEBHOOK_SIGNING_SECRETS", "STRAVA_WEBHOOK_VERIFY_TOKEN",
})  # fmt: skip


def log_folder(home: Path) -> Path:
    """Return the folder of the services' logs."""
    return home / HomeEntry.LOGS


def code_server_service(home: Path, server: CodeServer, environment: Mapping[str, str]) -> Service:
    """Return the service for the code server, which loads our definitions and starts the runs."""
    return Service(
        "code-server",
        _python("strava_pipeline", "code-server", "--socket", str(server.socket)),
        log_folder(home) / "code-server.log",
        _environment_of("dagster-code-server", environment, CODE_SERVER_SECRETS),
        ready_socket=server.link,
        folder=make_work_folder(home),
        is_restarted=True,
    )  # fmt: skip


def dagster_services(
    home: Path, listener: socket.socket, workspace_file: Path, environment: Mapping[str, str]
) -> list[Service]:
    """Return the services for Dagster: its webserver behind the guard, and its daemon.

    The code server of the workspace should be ready: they look for one again only after some seconds.
    """
    descriptor = listener.fileno()
    workspace = ("-w", str(workspace_file))
    webserver = ("strava_pipeline", "dagster-webserver", "--fd", str(descriptor), *workspace)
    return [
        Service(
            "dagster-webserver",
            _python(*webserver),
            log_folder(home) / "dagster-webserver.log",
            _environment_of("dagster-webserver", environment, WEBSERVER_SECRETS),
            ready_url=_health_at(listener),
            folder=make_work_folder(home),
            descriptors=(descriptor,),
        ),
        Service(
            "dagster-daemon",
            _script("dagster-daemon", "run", *workspace, *_log_format(environment)),
            log_folder(home) / "dagster-daemon.log",
            _environment_of("dagster-daemon", environment, DAEMON_SECRETS),
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
        _environment_of("bridge", environment, BRIDGE_SECRETS),
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


def _log_format(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The options by which a program of Dagster's own writes JSON, in fields of its own, if ours do."""
    return ("--log-format", "json") if environment.get(LOG_FORMAT) == LogFormatName.JSON else ()


def _environment_of(service: str, environment: Mapping[str, str], needed: frozenset[str]) -> dict[str, str]:
    """Return a service's environment: the ``needed`` secrets only, and its name for Dagster's database.

    All others are set to empty, which counts as unset, since a service also inherits our own environment.
    """
    return dict(environment) | dict.fromkeys(secret_variables() - needed, "") | {"PGAPPNAME": service}


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    """A command that was installed beside us, whatever ``PATH`` says."""
    return (sys.executable, str(Path(sysconfig.get_path("scripts"), name)), *arguments)
