"""Everything that an installation runs, each part a process of its own that a test may stop, freeze and start again.

Postgres with our tables and ``STRAVA_HOME`` are on a small disk; Dagster's storage is on another server, so that our
database can be away alone.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import requests
from sqlalchemy import Engine, make_url, text

from strava_pipeline.cli.instance import prepare_dagster_environment
from strava_pipeline.local.code_server import new_code_server
from strava_pipeline.local.listeners import is_listening
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.mock_strava.athletes import cyclist_body
from strava_pipeline.names import OWN_NAMES
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.sync.access import open_tokens
from strava_pipeline_tests.conftest import EMPTY, TEMPLATE, flush_nothing, made_template, new_database, opened
from strava_pipeline_tests.e2e.conftest import Installation, Mock, mock_strava, new_installation
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.e2e.test_outage import set_faults
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server
from strava_pipeline_tests.moody_server import MoodyDatabase, MoodyServer, moody_server
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.small_disk import SmallDisk, small_disk
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcess, WarmProcesses
from webhook_bridge.dagster_api import launch_run
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

DISK_BYTES = 400 * 2**20
OPERATOR = "operator@example.org"
FIRST, SECOND = "bridge-1", "bridge-2"
OK = 200


class Rider(IntEnum):
    """The athletes, by what becomes of them."""

    BUSY = 71
    IMPORTED = 72
    SILENT = 73
    LEAVING_1 = 74
    LEAVING_2 = 75
    LEAVING_3 = 76
    REFRESHED_1 = 77
    REFRESHED_2 = 78
    REFRESHED_3 = 79


# Dagster has partitions of these; no run is about the others.
WITH_RUNS = (Rider.BUSY, Rider.IMPORTED, Rider.SILENT)


class Ride(NamedTuple):
    """An activity at Strava, and whose it is."""

    rider: Rider
    activity_id: int


@dataclass
class RunningStack:
    """The parts of a running installation, and the servers around it.

    ``parts``: the processes by name: ``code-server``, ``webserver``, ``daemon``, and one for each bridge.
    """

    installation: Installation
    mock: Mock
    database: MoodyDatabase
    disk: SmallDisk
    mails: MailServerStandIn
    receiver: Loopback
    engine: Engine
    settings: Settings
    dagsters_address: str
    parts: dict[str, WarmProcess] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    scripts: list[dict[str, Any]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def start_bridge(self, name: str, **variables: str) -> None:
        """Start a bridge, at the port that it had before if it is started again; it answers afterwards."""
        port = self.ports.setdefault(name, free_port())
        self.start(name, COMMAND, "bridge", "--port", str(port), **variables)
        eventually(lambda: _answers(f"{self.bridge(name)}/health/live"), f"{name} answers")

    def restart_bridge(self, name: str, number: int = signal.SIGTERM, **variables: str) -> None:
        """End a bridge by a signal, and start it again, with some settings changed."""
        self.stop(name, number)
        self.start_bridge(name, **variables)

    def bridge(self, name: str) -> str:
        """The address of a bridge."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, name: str, module: str, *arguments: str, **variables: str) -> None:
        """Start a part whose output nobody needs."""
        environment = self.installation._clean() | self.installation.environment | variables
        self.parts[name] = self.installation.processes.start_silent(module, *arguments, env=environment)

    def run(self, module: str, *arguments: str) -> None:
        """Run a program that must succeed to its end."""
        output, _ = self.installation.start_module(module, *arguments).communicate()
        assert "Error" not in output, output

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a part by a signal, and wait for its end."""
        process = self.parts.pop(name)
        process.send_signal(number)
        process.wait(PATIENCE_SECONDS)

    def freeze(self, name: str) -> None:
        """Stop a part where it is; it neither works nor ends."""
        self.parts[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.parts[name].send_signal(signal.SIGCONT)

    def connect(self, rider: Rider) -> None:
        """Connect an athlete, for the first time or again."""
        code = self.mock.new_code(rider)
        if rider in WITH_RUNS:
            self.installation.output("connect", "--code", code)
            return
        pasted, scopes = oauth.parse_redirect(code)
        with new_session() as session:
            exchange = partial(oauth.exchange_code, self.settings, session, pasted)
            open_tokens(self.settings, self.engine).store_exchange(exchange, scopes)

    @contextmanager
    def failing(self, path: str, fault: str, **more: Any) -> Iterator[None]:
        """Let the mock answer all calls of a path with a fault during the block."""
        script = {"path": path, "fault": fault, "times": None} | more
        with self.guard:
            self.scripts.append(script)
            set_faults(self.mock, *self.scripts)
        try:
            yield
        finally:
            with self.guard:
                self.scripts.remove(script)
                set_faults(self.mock, *self.scripts)

    def ride(self, rider: Rider, *, days_ago: float = 0) -> Ride:
        """An athlete rides, and Strava tells nobody."""
        began = datetime.now(UTC) - timedelta(days=days_ago, hours=2)
        told = {"sport_type": "Ride", "start_date": f"{began:%Y-%m-%dT%H:%M:%SZ}", "silent": True}
        return Ride(rider, int(self.control("activities", {"athlete_id": rider} | told)["id"]))

    def delivers(self, ride: Ride, aspect: str = "create", *, bridge: str = FIRST, **more: Any) -> bool:
        """Whether a bridge accepts an event about a ride; ``more``: as :func:`.live_path.deliver` takes it."""
        secret = more.pop("secret", self.settings.signing_secrets()[0])
        return deliver(self.bridge(bridge), secret, ride.rider, ride.activity_id, aspect, **more)

    def await_empty_inbox(self) -> None:
        """Wait until each event took effect, or was given up."""
        open_events = "SELECT 1 FROM ops.webhook_events WHERE state IN ('received', 'launched', 'waiting')"
        eventually(lambda: self.rows(open_events) == [], "an empty inbox")

    def launch(self, job: str) -> None:
        """Launch a job of ours in Dagster."""
        dagster = DagsterServer.from_settings(self.settings)
        launch_run(dagster, find_place(dagster), job, {}, {})

    def control(self, path: str, fields: Mapping[str, Any]) -> Any:
        """Change the world of the mock."""
        answer = requests.post(f"{self.mock.url}/mock/{path}", json=fields, timeout=PATIENCE_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query of our database."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def change(self, statement: str, **values: Any) -> None:
        """Change rows of our database."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)


@contextmanager
def running_stack(processes: WarmProcesses, dagsters: Server, variables: Mapping[str, str]) -> Iterator[RunningStack]:
    """Start a mock, Postgres on a small disk, Dagster and two bridges, and what alerts are sent to."""
    with ExitStack() as held:
        enter = held.enter_context
        # Not below pytest's own folder: its permissions keep the embedded Postgres of root out.
        folder = Path(enter(tempfile.TemporaryDirectory(prefix="strava-pipeline-disk-")))
        folder.chmod(0o755)
        disk = enter(small_disk(folder, DISK_BYTES))
        installation = enter(new_installation(processes))
        installation.home = disk.folder / "home"
        database = enter(_database(disk.folder / "server"))
        storage = enter(new_database(dagsters, EMPTY, Login.DAGSTER))
        mails = enter(mail_server())
        receiver = enter(Loopback())
        mock = enter(mock_strava(installation))("--recordings", str(_riders(disk.folder / "riders")))
        installation.environment |= {
            "STRAVA_DATABASE_URL": database.address,
            "DAGSTER_POSTGRES_URL": dagsters.url(storage, Login.DAGSTER),
            "STRAVA_SMTP_URL": mails.url,
            "STRAVA_BRIDGE_PUBLIC_URL": "http://127.0.0.1",
            "STRAVA_MAIL_FROM": "Rides <rides@example.org>",
            "STRAVA_ALERT_TO": OPERATOR,
            "STRAVA_ALERT_URLS": f"json://127.0.0.1:{receiver.port}/alerts",
            "STRAVA_HEARTBEAT_URL": f"{receiver.url}/heartbeat",
            **variables,
        }
        with patch.dict(os.environ, installation.environment | {"STRAVA_HOME": str(installation.home)}):
            settings = load_settings()
            installation.environment |= prepare_dagster_environment(settings)
        engine = enter(opened(make_url(database.address)))
        stack = RunningStack(
            installation, mock, database, disk, mails, receiver, engine, settings,
            installation.environment["DAGSTER_POSTGRES_URL"],
        )  # fmt: skip
        enter(_parts_ended(stack))
        _start_dagster(stack)
        for name in (FIRST, SECOND):
            stack.start_bridge(name)
        yield stack


def _riders(folder: Path) -> Path:
    """Write athletes without any activity, as the mock reads them; returns the folder."""
    for rider in Rider:
        home = folder / str(rider)
        home.mkdir(parents=True)
        (home / "athlete.json").write_text(json.dumps(cyclist_body() | {"id": rider, "bikes": [], "shoes": []}))
    return folder


@contextmanager
def _database(home: Path) -> Iterator[MoodyDatabase]:
    with moody_server(home) as moody:
        flush_nothing(moody.server)
        _keep_small(moody)
        made_template(moody.server)
        with new_database(moody.server, TEMPLATE) as name:
            try:
                yield MoodyDatabase(moody, name)
            finally:
                moody.cheer_up()


def _keep_small(moody: MoodyServer) -> None:
    for setting, value in {"max_wal_size": "64MB", "min_wal_size": "32MB"}.items():
        moody.set_everywhere(setting, value)


def _start_dagster(stack: RunningStack) -> None:
    """Start the code server, and then Dagster's webserver and daemon, as ``up`` does."""
    code = new_code_server(stack.installation.home)
    stack.start("code-server", COMMAND, "code-server", "--socket", str(code.socket))
    eventually(lambda: is_listening(code.link), "a code server that listens")
    workspace = ("-w", str(code.workspace))
    # Upkeep looks after what a test says, and when.
    stack.run("dagster", "schedule", "stop", OWN_NAMES.schedule("upkeep_every_five_minutes"), *workspace)
    stack.start("webserver", COMMAND, "dagster-webserver", *workspace)
    stack.start("daemon", "dagster._daemon", "run", *workspace)
    address = stack.settings.dagster_webserver_url
    eventually(lambda: _answers(f"{address}/health/ready"), "Dagster's webserver")


@contextmanager
def _parts_ended(stack: RunningStack) -> Iterator[None]:
    try:
        yield
    finally:
        for name in reversed([*stack.parts]):
            stack.thaw(name)
            stack.stop(name)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == OK
    except requests.RequestException:
        return False
