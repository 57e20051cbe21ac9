"""A whole installation on this machine: own folder, own ports, the real command in processes of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil
import pytest
import requests

from strava_pipeline.defs.pools import USUAL_RUNS
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline_tests.conftest import DATA_IN_HOME
from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcess, WarmProcesses

LISTENING = "listening on "


@dataclass
class Installation:
    """One installation: its settings, and how to call its command."""

    home: Path
    processes: WarmProcesses
    environment: dict[str, str] = field(default_factory=dict)

    def call(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, with some settings changed."""
        done = self.processes.run(*arguments, env=self._clean() | self.environment | variables)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def output(self, *arguments: str, **variables: str) -> str:
        """What a command that must succeed prints."""
        done = self.call(*arguments, **variables)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def start(self, *arguments: str, **variables: str) -> WarmProcess:
        """Run the command in the background, with some settings changed, its output readable line by line."""
        return self.start_module(COMMAND, *arguments, **variables)

    def start_module(self, module: str, *arguments: str, **variables: str) -> WarmProcess:
        """The same with another program."""
        return self.processes.start(module, *arguments, env=self._clean() | self.environment | variables)

    def start_new(self, *arguments: str) -> subprocess.Popen[str]:
        """Run the command in a process that no other one was copied into: its own command line and environment show."""
        return subprocess.Popen(
            (sys.executable, "-m", COMMAND, *arguments),
            env=self._clean() | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _clean(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STRAVA_", "DAGSTER_"))}
        return kept | {"STRAVA_HOME": str(self.home), DATA_IN_HOME: "true"}


@dataclass(frozen=True)
class Mock:
    """A running mock Strava."""

    url: str

    def new_code(self, athlete_id: int) -> str:
        """An authorization code of one athlete, as the browser gets it."""
        query: Mapping[str, str] = {
            "client_id": "1",
            "redirect_uri": "http://localhost/",
            "response_type": "code",
            "scope": "read,activity:read_all,profile:read_all",
            "athlete": str(athlete_id),
        }
        answer = requests.get(
            f"{self.url}/oauth/authorize", params=query, allow_redirects=False, timeout=PATIENCE_SECONDS
        )
        return answer.headers["Location"]


@contextmanager
def new_installation(warm_processes: WarmProcesses) -> Iterator[Installation]:
    """An installation with everything set but the addresses of a Strava; its Postgres is the embedded one."""
    settings = {
        "STRAVA_CLIENT_ID": "1",
        "STRAVA_CLIENT_SECRET": secrets.token_hex(20),
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_OPERATOR_TOKEN": secrets.token_urlsafe(32),
        "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify",
        "STRAVA_WEBHOOK_SIGNING_SECRETS": secrets.token_hex(20),
        "STRAVA_QUOTA_SHORT_LIMIT": "5000",
        "STRAVA_QUOTA_LONG_LIMIT": "50000",
        "STRAVA_IMPORT_BATCH_INTERVAL_SECONDS": "0",
        # Whatever this machine has room for.
        "STRAVA_RUNS_AT_ONCE": str(USUAL_RUNS),
        "STRAVA_BRIDGE_PORT": str(free_port()),
        "DAGSTER_WEBSERVER_URL": f"http://127.0.0.1:{free_port()}",
    }
    # Not below pytest's own folder: its permissions keep the embedded Postgres of root out.
    folder = Path(tempfile.mkdtemp(prefix="strava-pipeline-e2e-"))
    try:
        yield Installation(folder / "home", warm_processes, settings)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def embedded(warm_processes: WarmProcesses) -> Iterator[Installation]:
    """An installation of this test's own; its Postgres is the embedded one."""
    with new_installation(warm_processes) as installation:
        yield installation


@pytest.fixture
def installation(
    embedded: Installation, server: Server, database_name: str, database: str, dagster_database: str
) -> Installation:
    """The same on the Postgres of the test run, which saves each test the start of one."""
    embedded.environment |= {
        "STRAVA_DATABASE_URL": database,
        "STRAVA_SQL_DATABASE_URL": server.url(database_name, Login.SQL),
        "STRAVA_ANALYST_DATABASE_URL": server.url(database_name, Login.SQL_AS_ANALYST),
        "DAGSTER_POSTGRES_URL": dagster_database,
    }
    return embedded


@contextmanager
def mock_strava(installation: Installation) -> Iterator[Callable[..., Mock]]:
    """Starts the mock Strava with the given options, and points the installation to it."""
    started: list[WarmProcess] = []

    def start(*options: str) -> Mock:
        process = installation.start("mock-strava", "--port", "0", *options)
        started.append(process)
        assert process.stdout is not None
        url = _address(process.stdout)
        installation.environment |= {"STRAVA_API_URL": f"{url}/api/v3", "STRAVA_OAUTH_URL": f"{url}/oauth"}
        return Mock(url)

    try:
        yield start
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, output


@pytest.fixture
def start_mock(embedded: Installation) -> Iterator[Callable[..., Mock]]:
    """Starts the mock Strava of this test with the given options."""
    with mock_strava(embedded) as start:
        yield start


@pytest.fixture
def connected(installation: Installation, start_mock: Callable[..., Mock], tmp_path: Path) -> Installation:
    """An installation with one connected athlete and nothing imported."""
    recordings.write(tmp_path / "runner")
    mock = start_mock("--recordings", str(tmp_path / "runner"))
    installation.output("connect", "--code", mock.new_code(recordings.ATHLETE_ID))
    return installation


def start_up(installation: Installation, **variables: str) -> WarmProcess:
    """Start `up`, with some settings changed; returns once Dagster and the bridge are served."""
    process = installation.start("up", **variables)
    told_by_up(process)
    return process


def told_by_up(process: WarmProcess) -> list[str]:
    """The lines that `up` prints until everything is served."""
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if "Ctrl-C stops" in line:
            return told
    raise AssertionError(told)


def stop_up(process: WarmProcess) -> None:
    """Let `up` stop everything, unless it has ended."""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)


def kill_up(process: WarmProcess) -> None:
    """End all processes of `up` at once, as a machine does that loses its power."""
    up = psutil.Process(process.pid)
    processes = up.children(recursive=True)
    for each in (up, *processes):
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    # One that is about to end still listens on its port.
    assert psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)[1] == []


@contextmanager
def everything_up(installation: Installation) -> Iterator[None]:
    """Dagster and the bridge, served while the block runs."""
    process = start_up(installation)
    try:
        yield
    finally:
        stop_up(process)


def _address(output: IO[str]) -> str:
    for line in output:
        if LISTENING in line:
            # In JSON the message's end follows.
            return line.split(LISTENING)[1].split()[0].rstrip('",}')
    raise AssertionError("the mock ended before it was ready")
