"""An installation on several hosts, as ``examples/distributed`` and docs/distributed.md have it.

Each host has a code server and a Celery worker. The hub has Postgres, Redis, the mock Strava, Dagster's webserver and
daemon, and the bridge. Hosts are network namespaces: whatever one knows of another comes through its network.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import psutil
import requests
from dagster_celery.launcher import CeleryRunLauncher
from flask import Flask
from sqlalchemy import Engine, make_url, text
from werkzeug.serving import make_server

from strava_pipeline.keyring import generate_key
from strava_pipeline.local import postgres
from strava_pipeline.local.kept_server import LOG
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server, using_server
from strava_pipeline.local.postgres_logins import DAGSTER_DATABASE, SERVER_OPTIONS, WAREHOUSE_DATABASE
from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.state import EXTENSION, Mock
from strava_pipeline.names import Names
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.imports.wishes import make_import
from strava_pipeline.warehouse.migrate import open_warehouse
from strava_pipeline.warehouse.states import HISTORY_STEPS, MadeBy
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.network_namespaces import PREFIX, Host, Network, inside, joined_hosts
from strava_pipeline_tests.relay import relay
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcess, WarmProcesses

EXAMPLE = Path(__file__).parents[1] / "examples" / "distributed"
# The workspace.yaml of the example has it.
CODE_PORT = 4000
# Of all hosts, each of which has a network of its own.
POSTGRES_PORT, REDIS_PORT, STRAVA_PORT, DAGSTER_PORT, BRIDGE_PORT = 5432, 6379, 9000, 3000, 8080
LOOPBACK = "127.0.0.1"
# As the dagster.yaml of the example says.
RUNS_AT_ONCE = 20
OK = 200
NAMES = Names()


@dataclass
class Distributed:
    """A running installation: what the hub sees of it, and the processes of each host.

    ``workers``: Celery's app, by which workers are asked and told. This thread is inside the hub's network.
    """

    network: Network
    settings: Settings
    engine: Engine
    owner: Engine
    instance: dg.DagsterInstance
    workers: Any
    strava: Mock
    processes: Mapping[str, Sequence[WarmProcess]]

    def take_runs(self, *names: str) -> None:
        """Let the workers of these hosts take runs from the queue, and no others."""
        for name in self.network.hosts:
            self._tell(
                self.workers.control.add_consumer if name in names else self.workers.control.cancel_consumer, name
            )

    def takes_runs_too(self, name: str) -> None:
        """Let a host's worker take runs from the queue."""
        self._tell(self.workers.control.add_consumer, name)

    def _tell(self, tell: Callable[..., Any], name: str) -> None:
        told = partial(tell, "dagster", destination=[worker_of(name)], reply=True)
        eventually(told, f"an answer of the worker at {name}")

    def connect(self, athlete_id: int) -> None:
        """Connect an athlete of the mock as its consent page does."""
        code = self.strava.grants.new_lasting_code(athlete_id)
        with new_session() as session:
            store = open_tokens(self.settings, self.engine)
            scopes = ["read", "activity:read_all", "profile:read_all"]
            store.store_exchange(lambda: oauth.exchange_code(self.settings, session, code), scopes)
        self.instance.add_dynamic_partitions(NAMES.partition_set, [str(athlete_id)])

    def ask_for(self, athlete_id: int, first: date, last: date) -> None:
        """Ask for an import of an athlete's months, as the command does."""
        with self.engine.begin() as connection:
            make_import(connection, athlete_id, first, last, HISTORY_STEPS, profile=False, by=MadeBy.COMMAND)

    def rows(self, query: str, **values: object) -> list[Any]:
        """The rows of a query of the tables."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), values))

    def hosts_of_runs(self) -> dict[str, str]:
        """The host that executes or executed each run, by the run's id."""
        found = {run.run_id: run.tags.get(NAMES.process_tag, "") for run in self.instance.get_runs()}
        return {run_id: process.partition("/")[0] for run_id, process in found.items() if process}


def write_riders(folder: Path, riders: Iterable[int], body: Mapping[str, Any]) -> Path:
    """Write athletes who have not ridden yet for the mock Strava, each with this profile; returns the folder."""
    for rider in riders:
        (folder / str(rider)).mkdir(parents=True)
        athlete = {**body, "id": rider, "bikes": [], "shoes": []}
        (folder / str(rider) / "athlete.json").write_text(json.dumps(athlete), encoding="utf-8")
    return folder


def worker_of(name: str) -> str:
    """The name of a host's worker among Celery's."""
    return f"celery@{name}"


@contextmanager
def distributed(
    warm: WarmProcesses,
    folder: Path,
    postgres_home: Path,
    recordings: Path,
    *,
    hosts: Sequence[str] = ("one", "two"),
    processes: int = 2,
    **more: str,
) -> Iterator[Distributed]:
    """Start an installation on these hosts, whose workers have so many processes each; ``more``: settings."""
    with ExitStack() as stack:
        network = stack.enter_context(joined_hosts(*hosts))
        stack.enter_context(inside(network.hub))
        server = stack.enter_context(_postgres_at(network.hub, postgres_home))
        stack.enter_context(_redis_at(network.hub, folder))
        common = _settings(network, server) | more
        environments = {name: common | _folders(folder, name) for name in ("hub", *hosts)}
        owner_url = _url(network.hub, server, WAREHOUSE_DATABASE, Login.OWNER)
        with patch.dict(os.environ, environments["hub"] | {"STRAVA_DATABASE_OWNER_URL": owner_url}):
            settings = load_settings()
            engine = stack.enter_context(open_warehouse(settings))
            # Makes Dagster's tables: processes that start at once could meet while each makes them.
            instance = stack.enter_context(dg.DagsterInstance.from_config(environments["hub"]["DAGSTER_HOME"]))
            launcher = instance.run_launcher
        assert isinstance(launcher, CeleryRunLauncher)
        owner = open_engine(make_url(owner_url))
        stack.callback(owner.dispose)
        app = create_mock(MockConfig.from_settings(settings, recordings))
        for address in (LOOPBACK, network.hub.address):
            stack.enter_context(_served(app, address))
        for host in network.hosts.values():
            # Plain http is allowed within a machine only.
            with inside(host):
                stack.enter_context(relay((LOOPBACK, STRAVA_PORT), (network.hub.address, STRAVA_PORT)))
        parts = stack.enter_context(_processes(warm, folder, network, environments, processes))
        strava = app.extensions[EXTENSION]
        running = Distributed(network, settings, engine, owner, instance, launcher.celery, strava, parts)
        _await_answers(running)
        yield running


def _settings(network: Network, server: Server) -> dict[str, str]:
    """What all hosts are given."""
    broker = f"redis://{network.hub.address}:{REDIS_PORT}/0"
    *others, last = (host.address for host in network.hosts.values())
    strava = f"http://{LOOPBACK}:{STRAVA_PORT}"
    dagster = make_url(_url(network.hub, server, DAGSTER_DATABASE, Login.DAGSTER))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STRAVA_", "DAGSTER_"))}
    return kept | {
        "CELERY_BROKER_URL": broker,
        "CODE_SERVERS": f"ipv4:{','.join([*(f'{address}:{CODE_PORT}' for address in others), last])}",
        "DAGSTER_EVENT_BATCH_SIZE": "100",
        "DAGSTER_POSTGRES_URL": dagster.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False),
        "DAGSTER_WEBSERVER_URL": f"http://{LOOPBACK}:{DAGSTER_PORT}",
        "STRAVA_API_URL": f"{strava}/api/v3",
        "STRAVA_BRIDGE_PORT": str(BRIDGE_PORT),
        "STRAVA_CLIENT_ID": "1",
        "STRAVA_CLIENT_SECRET": secrets.token_hex(20),
        "STRAVA_DATA_IN_HOME": "false",
        "STRAVA_DATABASE_URL": _url(network.hub, server, WAREHOUSE_DATABASE, Login.PIPELINE),
        "STRAVA_IMPORT_BATCH_INTERVAL_SECONDS": "0",
        "STRAVA_OAUTH_URL": f"{strava}/oauth",
        "STRAVA_OPERATOR_TOKEN": secrets.token_urlsafe(32),
        "STRAVA_RUNS_AT_ONCE": str(RUNS_AT_ONCE),
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_WEBHOOK_SIGNING_SECRETS": secrets.token_hex(20),
        "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify",
    }


def _folders(folder: Path, name: str) -> dict[str, str]:
    """The folders of a host, which no other one sees, and Dagster's file in them."""
    home = folder / name / "dagster"
    home.mkdir(parents=True)
    shutil.copy(EXAMPLE / "dagster.yaml", home)
    return {"STRAVA_HOME": str(folder / name / "strava"), "DAGSTER_HOME": str(home)}


def _url(hub: Host, server: Server, database: str, login: Login) -> str:
    url = make_url(server.url(database, login)).set(host=hub.address, port=POSTGRES_PORT, query={})
    return url.render_as_string(hide_password=False)


@contextmanager
def _postgres_at(hub: Host, home: Path) -> Iterator[Server]:
    """The embedded Postgres in this thread's network, with an address in it."""
    home = home.resolve()
    with using_server(home) as server:
        data = home / "postgres"
        with (data / "pg_hba.conf").open("a", encoding="utf-8") as access:
            access.write(f"host all all {PREFIX}0/24 scram-sha-256\n")
        options = (
            f"-c listen_addresses={hub.address} -c unix_socket_directories='{server.socket_dir}' -p {POSTGRES_PORT}"
            # Nothing here outlives the run.
            f" -c fsync=off -c full_page_writes=off {SERVER_OPTIONS}"
        )
        postgres._pg_ctl(home, "restart", "-w", "-l", str(data / LOG), "-o", options)
        yield server


@contextmanager
def _redis_at(hub: Host, folder: Path) -> Iterator[None]:
    command = ("redis-server", "--bind", hub.address, "--port", str(REDIS_PORT), "--protected-mode", "no")
    kept_nowhere = ("--save", "", "--appendonly", "no", "--dir", str(folder))
    with (folder / "redis.log").open("wb") as log:
        redis = subprocess.Popen([*command, *kept_nowhere], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        redis.terminate()
        redis.wait(PATIENCE_SECONDS)


@contextmanager
def _served(app: Flask, address: str) -> Iterator[None]:
    server = make_server(address, STRAVA_PORT, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _processes(
    warm: WarmProcesses,
    folder: Path,
    network: Network,
    environments: Mapping[str, Mapping[str, str]],
    processes: int,
) -> Iterator[Mapping[str, Sequence[WarmProcess]]]:
    """Start all programs, as the guide says; end them, and what they have started, afterwards."""
    started: dict[str, list[WarmProcess]] = {name: [] for name in environments}

    def start(host: Host, name: str, module: str, *arguments: str) -> None:
        output = folder / f"{name}-{host.name}.log"
        process = warm.start_silent(module, *arguments, env=environments[host.name], output=output, host=host)
        started[host.name].append(process)

    try:
        for host in network.hosts.values():
            start(
                host, "code", "dagster", "api", "grpc", "--host", host.address, "--port", str(CODE_PORT),
                "--location-name", "strava_pipeline", "--module-name", "strava_pipeline.definitions",
                "--attribute", "own_process_defs", "--log-level", "warning",
            )  # fmt: skip
            start(
                host, "worker", "celery", "--workdir", str(EXAMPLE), "--app", "strava_workers", "worker",
                "--concurrency", str(processes), "--without-gossip", "--without-mingle", "--loglevel", "INFO",
            )  # fmt: skip
        eventually(lambda: all(map(_serves_code, network.hosts.values())), "code servers that listen")
        workspace = ("--workspace", str(EXAMPLE / "workspace.yaml"))
        start(network.hub, "webserver", "dagster_webserver", *workspace, "--port", str(DAGSTER_PORT))
        start(network.hub, "daemon", "dagster._daemon", "run", *workspace)
        start(network.hub, "bridge", COMMAND, "bridge", "--port", str(BRIDGE_PORT))
        yield started
    finally:
        end([process for parts in started.values() for process in parts])


def end(processes: Sequence[WarmProcess]) -> None:
    """End processes and those that they have started; kill what does not end in time."""
    found = [psutil.Process(process.pid) for process in processes if process.poll() is None]
    children = [child for process in found for child in process.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
        process.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert psutil.wait_procs(children, PATIENCE_SECONDS)[1] == []


def _await_answers(running: Distributed) -> None:
    workers = {worker_of(name) for name in running.network.hosts}
    pages = (f"{running.settings.dagster_webserver_url}/server_info", f"http://{LOOPBACK}:{BRIDGE_PORT}/health/live")

    def all_answer() -> bool:
        parts = [process for parts in running.processes.values() for process in parts]
        assert [process.args for process in parts if process.poll() is not None] == [], "ended before it was ready"
        return all(map(_answers, pages)) and workers == {
            name for answer in running.workers.control.ping(timeout=0.5) for name in answer
        }

    eventually(all_answer, "an installation that answers")


def _serves_code(host: Host) -> bool:
    with suppress(OSError), socket.create_connection((host.address, CODE_PORT), timeout=1):
        return True
    return False


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == OK
    except requests.RequestException:
        return False
