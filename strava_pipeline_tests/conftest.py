"""A real Postgres for every test that asks for one, and an environment in which nothing from outside counts."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import hypothesis
import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Engine, make_url

from strava_pipeline import own_process, redaction
from strava_pipeline.cli import COMMANDS
from strava_pipeline.cli.interruptible import SIGNALS
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server, using_server
from strava_pipeline.local.postgres_logins import as_superuser, set_up_database
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.analyst import ensure_analyst_role, join_analysts
from strava_pipeline.warehouse.access.rights import close_to_public, grant
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.migrate import migrate
from strava_pipeline_tests import processes
from strava_pipeline_tests.histories import SOAK, SOAKED
from strava_pipeline_tests.moody_server import MoodyDatabase, MoodyServer, moody_server
from strava_pipeline_tests.streaming_replica import StreamingReplica, streaming_replica
from strava_pipeline_tests.warm_processes import COMMAND_MODULES, WarmProcesses

TEMPLATE = "migrated"
EMPTY = "template0"
ANALYSTS = "strava_analyst"
OURS = ("STRAVA_", "DAGSTER_")
# The tests give one result within containers and elsewhere.
DATA_IN_HOME = "STRAVA_DATA_IN_HOME"
MEMORY = Path("/dev/shm")  # noqa: S108  the folder made in it is private
MEMORY_NEEDED_BYTES = 2**30
TOKEN_KEY = generate_key()
OPERATOR_TOKEN = "a-token-of-the-operator"
# The settings of an app, but for its database.
SETTINGS = {
    "STRAVA_CLIENT_ID": "4711",
    "STRAVA_CLIENT_SECRET": "client-secret",
    "STRAVA_TOKEN_KEYS": TOKEN_KEY,
    "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify-token",
    "STRAVA_WEBHOOK_SIGNING_SECRETS": "signing-secret",
    "STRAVA_OPERATOR_TOKEN": OPERATOR_TOKEN,
    "STRAVA_IMPORT_BATCH_INTERVAL_SECONDS": "0",
    "DAGSTER_WEBSERVER_URL": "http://127.0.0.1:9",
}
# What is secret in these tests: the key itself, the settings below, every stand-in for a token, a mailbox's password.
SECRETS = (
    TOKEN_KEY.rpartition(":")[2],
    "client-secret",
    "verify-token",
    "signing-secret",
    OPERATOR_TOKEN,
    "canary-access",
    "canary-refresh",
    "p@ss:w/rd",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="Keep the browser tests' screenshots in this folder.")


def pytest_configure(config: pytest.Config) -> None:
    # Modules that read the settings while they are imported must not see the developer's either.
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    empty = tempfile.TemporaryDirectory(prefix="strava-pipeline-tests-")  # not a known name, which anybody could fill
    config.add_cleanup(empty.cleanup)
    os.environ["STRAVA_HOME"] = str(Path(empty.name) / "no-home")
    os.environ[DATA_IN_HOME] = "true"
    # Dagster says of some interfaces that they may still change, and uses old ones itself.
    for warning in (
        ":dagster_shared.utils.warnings.BetaWarning",
        ":DeprecationWarning:dagster.*",
        "The `__fields__` attribute is deprecated:DeprecationWarning",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{warning}")
    processes.watch()
    # One commit always gives one answer, and a machine under load is no failure.
    patient: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("project", derandomize=True, **patient)
    hypothesis.settings.register_profile(SOAK, derandomize=False, database=None, max_examples=SOAKED, **patient)
    hypothesis.settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    processes.mark(items)
    # Files with the longest tests first: one that is begun last would keep one worker busy, and the others waiting.
    long, starting = (
        {item.path for item in items if item.get_closest_marker(name)} for name in ("long", processes.MARKER)
    )
    items.sort(key=lambda item: (item.path not in long, item.path not in starting))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # Hardly anything becomes garbage meanwhile, and to look for it takes a fifth of the time. What is loaded then
    # stays: looked through again and again, it takes a fifth of a soak's time.
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


class SecretsSeen(logging.Handler):
    """Looks for secrets in everything that is logged, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        shown = self.format(record)
        self.found += [f"{record.name}: {shown}" for secret in SECRETS if secret in shown]


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_logged() -> Iterator[None]:
    """The whole run logs at DEBUG (see pyproject.toml), with all its failures, and never a secret."""
    redaction.install()  # as every process of the product does
    seen = SecretsSeen()
    logging.getLogger().addHandler(seen)
    yield
    logging.getLogger().removeHandler(seen)
    assert seen.found == []


@pytest.fixture(autouse=True)
def no_process_is_started_unawares(request: pytest.FixtureRequest) -> Iterator[None]:
    """What ``make test`` takes for a test without processes is one."""
    processes.started()
    yield
    assert request.node.get_closest_marker(processes.MARKER) or processes.started() == []


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path) -> Iterator[None]:
    """No variable of ours from outside, a home of its own for each test, and no variable of its commands afterwards."""
    with patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith(OURS)]:
            del os.environ[name]
        os.environ["STRAVA_HOME"] = str(tmp_path / "home")
        os.environ[DATA_IN_HOME] = "true"
        yield


@pytest.fixture(autouse=True)
def clean_signals() -> Iterator[None]:
    """Give later tests, and their processes, the handlers of before: an interrupted command ignores further signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def own_name() -> Iterator[None]:
    """Give later tests' connections the name of before: a command in this process has one of its own."""
    before = list(own_process._parts)
    yield
    own_process._parts[:] = before


@pytest.fixture(scope="session")
def new_home() -> Iterator[Callable[[], Path]]:
    """Makes folders for servers; they go when the test run ends."""
    # Not below pytest's own folder: another run resets that one's permissions.
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-", dir=_memory_folder()) as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@pytest.fixture(scope="session")
def server(new_home: Callable[[], Path]) -> Iterator[Server]:
    """The embedded Postgres of this test run, its data thrown away afterwards."""
    home = new_home()
    with using_server(home) as server:
        postmaster = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))
        flush_nothing(server)
        yield server
    # Ended, though perhaps nobody has asked for its exit code yet.
    ended = not postmaster.is_running() or postmaster.status() == psutil.STATUS_ZOMBIE
    assert ended, "the test run left its Postgres behind"


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """A database with all tables and rights, migrated once by its owner; every test gets a copy."""
    return made_template(server)


def made_template(server: Server) -> str:
    """Make the database with all tables and rights on a server; returns its name."""
    with as_superuser(server.socket_dir, server.port) as connection:
        set_up_database(connection, TEMPLATE, Login.OWNER)
    owner = open_engine(make_url(server.url(TEMPLATE, Login.OWNER)))
    migrate(owner)
    owner.dispose()
    admin = open_engine(make_url(server.set_up_url(TEMPLATE)))
    ensure_analyst_role(admin, ANALYSTS)
    with admin.begin() as connection:
        grant(connection, Login.PIPELINE, Login.PIPELINE)
        grant(connection, Login.SQL, Login.SQL)
        join_analysts(connection, ANALYSTS, Login.SQL_AS_ANALYST)
        close_to_public(connection, (Login.OWNER, Login.PIPELINE))
    admin.dispose()
    return TEMPLATE


def flush_nothing(server: Server) -> None:
    """Nothing here outlives the run, so nothing is worth a flush to the disk."""
    with _admin(server) as connection:
        for name in ("fsync", "full_page_writes", "autovacuum"):
            connection.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def own_server(new_home: Callable[[], Path]) -> Iterator[MoodyServer]:
    """A server of this module's own, which it may stop and change."""
    with moody_server(new_home()) as moody:
        flush_nothing(moody.server)
        made_template(moody.server)
        yield moody


@pytest.fixture
def moody(own_server: MoodyServer) -> Iterator[MoodyDatabase]:
    """A migrated database on a server that may be stopped, and made to refuse; afterwards it works again."""
    with new_database(own_server.server, TEMPLATE) as name:
        yield MoodyDatabase(own_server, name)
        own_server.cheer_up()


@pytest.fixture(scope="module")
def own_replica(own_server: MoodyServer, new_home: Callable[[], Path]) -> Iterator[StreamingReplica]:
    """A replica of the module's own server."""
    with streaming_replica(own_server, new_home()) as replica:
        yield replica


@pytest.fixture
def replica(moody: MoodyDatabase, own_replica: StreamingReplica) -> Iterator[StreamingReplica]:
    """A replica that has all of the database; its primary may be stopped."""
    own_replica.follow()
    yield own_replica
    own_replica.start()
    own_replica.resume_replay()


@pytest.fixture
def empty_database(server: Server) -> Iterator[str]:
    """The address of a database without any table, for the login that owns it and may create nothing else."""
    with new_database(server, EMPTY) as name:
        yield server.url(name, Login.OWNER)


@pytest.fixture
def dagster_database(server: Server) -> Iterator[str]:
    """The address of an empty database for Dagster's login."""
    with new_database(server, EMPTY, Login.DAGSTER) as name:
        yield server.url(name, Login.DAGSTER)


@pytest.fixture
def database_name(server: Server, template: str) -> Iterator[str]:
    """The name of a migrated database of this test's own."""
    with new_database(server, template) as name:
        yield name


@pytest.fixture
def database(server: Server, database_name: str) -> str:
    """Its address for the pipeline's login, which everything but migrations works with."""
    return server.url(database_name, Login.PIPELINE)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on a migrated database of this test's own, with the pipeline's rights."""
    with opened(database) as engine:
        yield engine


@pytest.fixture
def owner_engine(server: Server, database_name: str) -> Iterator[Engine]:
    """The same for a test that changes tables."""
    with opened(server.url(database_name, Login.OWNER)) as engine:
        yield engine


@pytest.fixture
def admin_engine(server: Server, database_name: str) -> Iterator[Engine]:
    """The same for a test that makes roles, or looks behind the scenes."""
    with opened(server.set_up_url(database_name)) as engine:
        yield engine


@pytest.fixture
def analyst_engine(server: Server, database_name: str) -> Iterator[Engine]:
    """The same for a test that reads as analysts do."""
    with opened(server.url(database_name, Login.SQL_AS_ANALYST)) as engine:
        yield engine


@pytest.fixture(scope="session")
def warm_processes() -> Iterator[WarmProcesses]:
    """Runs the command in processes that need not load its modules first."""
    modules = {f"strava_pipeline.cli.{module}" for module, _ in COMMANDS.values()}
    with WarmProcesses((*COMMAND_MODULES, *sorted(modules))) as processes:
        yield processes


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.parse(TOKEN_KEY)


@pytest.fixture
def settings(server: Server, database_name: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an app whose tables are this test's database, read from the environment as always."""
    given = {
        "STRAVA_DATABASE_URL": database,
        "STRAVA_SQL_DATABASE_URL": server.url(database_name, Login.SQL),
        "STRAVA_ANALYST_DATABASE_URL": server.url(database_name, Login.SQL_AS_ANALYST),
    }
    for name, value in (SETTINGS | given).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def _memory_folder() -> str | None:
    """A folder in memory, where a database is copied in a hundredth of a second, if there is one with room."""
    there = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED_BYTES
    return str(MEMORY) if there else None


@contextmanager
def opened(address: str | URL) -> Iterator[Engine]:
    """An engine for the time of a block."""
    engine = open_engine(make_url(address))
    yield engine
    engine.dispose()


@contextmanager
def new_database(server: Server, template: str, owner: Login = Login.OWNER) -> Iterator[str]:
    """The name of a copy of ``template``, which is dropped afterwards."""
    text = f"test_{uuid4().hex}"
    name = Identifier(text)
    with _admin(server) as connection:
        # Copying files beats writing every page of the copy to the log, and so does dropping the copy.
        creating = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy OWNER {}")
        connection.execute(creating.format(name, Identifier(template), Identifier(owner)))
        set_up_database(connection, text, owner)
        if template == TEMPLATE:
            connection.execute(SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, Identifier(ANALYSTS)))
    try:
        yield text
    finally:
        with _admin(server) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _admin(server: Server) -> AbstractContextManager[psycopg.Connection[Any]]:
    return as_superuser(server.socket_dir, server.port)
