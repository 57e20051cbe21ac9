"""Somebody else's Dagster that has our definitions, too: SQLite, their code, and no workspace or settings of ours.

``host_project/`` is their project. Its code servers, the webserver, the daemon and our bridge are processes.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import requests
from dagster import DagsterRunStatus
from sqlalchemy import Engine, text

from strava_pipeline.local.listeners import is_listening
from strava_pipeline.settings import Settings
from strava_pipeline_tests.e2e.conftest import Installation
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.host_project import PROJECT
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcess

OK = 200
# Theirs, and no word about us: runs wait in Dagster's queue, which looks more often than it would by itself.
INSTANCE = """\
telemetry: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1}
"""
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  answer: launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on Error { message }
  }
}
"""


class Way(NamedTuple):
    """How a project takes us in: the modules of its code locations by name, and the location that has our job."""

    locations: Mapping[str, str]
    ours: str
    key_prefix: tuple[str, ...]


@dataclass
class Host:
    """A running Dagster of theirs with our bridge beside it.

    ``values``: the folder of their IO manager.
    """

    way: Way
    installation: Installation
    settings: Settings
    engine: Engine
    instance: dg.DagsterInstance
    values: Path
    parts: list[WarmProcess] = field(default_factory=list)

    def launch(self, location: str, assets: list[list[str]]) -> str:
        """Launch a run of assets without their checks, as their UI does; returns its id."""
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": location,
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": path} for path in assets],
            "assetCheckSelection": [],
        }
        params = {"selector": selector, "runConfigData": {}}
        asked = {"query": LAUNCH, "variables": {"params": params}}
        answer = requests.post(
            f"{self.settings.dagster_webserver_url}/graphql", json=asked, timeout=PATIENCE_SECONDS
        ).json()
        assert answer["data"]["answer"]["__typename"] == "LaunchRunSuccess", answer
        return str(answer["data"]["answer"]["run"]["id"])

    def delivers(self, athlete_id: int, activity_id: int) -> bool:
        """Whether the bridge accepts an event of a new activity."""
        bridge = f"http://127.0.0.1:{self.settings.bridge_port}"
        return deliver(bridge, self.settings.signing_secrets()[0], athlete_id, activity_id)

    def ended(self, run_id: str) -> DagsterRunStatus:
        """Wait for the end of a run."""

        def look() -> list[DagsterRunStatus]:
            return [run.status for run in self.instance.get_runs(dg.RunsFilter([run_id])) if run.is_finished]

        return eventually(look, f"the end of run {run_id}")[0]

    def runs_of(self, location: str) -> dict[str, str]:
        """The job of each run in the log of a code location, by the run's id."""
        runs = self.instance.get_runs()
        return {run.run_id: run.job_name for run in runs if _location(run) == location}

    def told(self, run_id: str) -> str:
        """All that Dagster logged of a run."""
        return "\n".join(entry.user_message for entry in self.instance.all_logs(run_id))

    def processes(self, run_id: str) -> list[tuple[str, str]]:
        """The steps of a run, each with the number of the process that executed it."""
        started = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED)
        events = [entry.get_dagster_event() for entry in started]
        return [(str(event.step_key), str(event.engine_event_data.metadata["pid"].value)) for event in events]

    def value(self, asset: str) -> Any:
        """What their IO manager stored for an asset."""
        return json.loads((self.values / f"{asset}.json").read_text())

    def rows(self, query: str) -> list[Any]:
        """The rows of a query of our tables."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)))


@contextmanager
def running_host(
    installation: Installation, way: Way, folder: Path, settings: Settings, engine: Engine
) -> Iterator[Host]:
    """Start all processes of a host that took us in."""
    home, values = folder / "dagster", folder / "values"
    home.mkdir()
    values.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    installation.environment |= {"DAGSTER_HOME": str(home), "HOST_FOLDER": str(values)}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        host = Host(way, installation, settings, engine, instance, values)
        try:
            _start(host, folder)
            yield host
        finally:
            for part in reversed(host.parts):
                part.send_signal(signal.SIGTERM)
            for part in reversed(host.parts):
                _await_end(part)


def _await_end(part: WarmProcess) -> None:
    """Wait until a part has ended; a code server would wait for a run of its own, which nobody waits for here."""
    try:
        part.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        part.send_signal(signal.SIGKILL)
        part.wait(PATIENCE_SECONDS)


def _start(host: Host, folder: Path) -> None:
    """Start the code servers and our bridge, and then the webserver and the daemon, which look for code servers."""

    def start(name: str, module: str, *arguments: str) -> Callable[[Callable[[], bool]], None]:
        installation = host.installation
        environment, output = installation._clean() | installation.environment, folder / f"{name}.log"
        process = installation.processes.start_silent(module, *arguments, env=environment, output=output)
        host.parts.append(process)

        def await_that(look: Callable[[], bool]) -> None:
            eventually(lambda: process.poll() is not None or look(), f"{name} is ready")
            assert process.poll() is None, output.read_text()

        return await_that

    bridge, webserver = f"http://127.0.0.1:{host.settings.bridge_port}", host.settings.dagster_webserver_url
    sockets = {name: folder / f"{name}.sock" for name in host.way.locations}
    listening = {
        name: start(
            name, "dagster", "api", "grpc", "--socket", str(sockets[name]), "--location-name", name,
            "--module-name", module, "--attribute", "defs", "--working-directory", str(PROJECT),
            "--use-python-environment-entry-point",
        )
        for name, module in host.way.locations.items()
    }  # fmt: skip
    bridge_is = start("bridge", COMMAND, "bridge", "--port", str(host.settings.bridge_port))
    for name, socket in sockets.items():
        listening[name](partial(is_listening, socket))
    workspace = folder / "workspace.yaml"
    servers = [{"grpc_server": {"socket": str(socket), "location_name": name}} for name, socket in sockets.items()]
    workspace.write_text(json.dumps({"load_from": servers}))
    at = ("--workspace", str(workspace))
    webserver_is = start("webserver", "dagster_webserver", *at, "--port", webserver.rpartition(":")[2])
    start("daemon", "dagster._daemon", "run", *at)
    webserver_is(lambda: _answers(f"{webserver}/server_info"))
    bridge_is(lambda: _answers(f"{bridge}/health/live"))


def _location(run: dg.DagsterRun) -> str:
    assert run.remote_job_origin is not None
    return run.remote_job_origin.repository_origin.code_location_origin.location_name


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == OK
    except requests.RequestException:
        return False
