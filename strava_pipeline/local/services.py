"""The processes behind ``up`` and ``demo``: their commands, their logs, and where they answer when ready."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from strava_pipeline.local.dagster_home import shipped_file
from strava_pipeline.local.supervisor import Service

LOOPBACK = "127.0.0.1"


def logs_of(home: Path) -> Path:
    """Where the services write their logs."""
    return home / "logs"


def dagster_services(home: Path, port: int, environment: Mapping[str, str]) -> list[Service]:
    """Dagster's webserver behind the guard, and its daemon."""
    workspace = ("-w", str(shipped_file("workspace.yaml")))
    webserver = ("strava_pipeline", "dagster-webserver", "-p", str(port), *workspace)
    return [
        Service(
            "dagster-webserver",
            _python(*webserver),
            logs_of(home) / "dagster-webserver.log",
            environment,
            ready_url=f"http://{LOOPBACK}:{port}/health/ready",
        ),
        Service(
            "dagster-daemon",
            _python("dagster._daemon", "run", *workspace),
            logs_of(home) / "dagster-daemon.log",
            environment,
        ),
    ]


def bridge(home: Path, port: int, environment: Mapping[str, str]) -> Service:
    """The webhook bridge."""
    return Service(
        "bridge",
        _python("strava_pipeline", "bridge", "--port", str(port)),
        logs_of(home) / "bridge.log",
        environment,
        ready_url=f"http://{LOOPBACK}:{port}/health/ready",
    )


def mock_strava(home: Path, port: int, environment: Mapping[str, str]) -> Service:
    """The Strava look-alike."""
    return Service(
        "mock-strava",
        _python("strava_pipeline", "mock-strava", "--port", str(port)),
        logs_of(home) / "mock-strava.log",
        environment,
        ready_url=f"http://{LOOPBACK}:{port}/mock/athletes",
    )


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
