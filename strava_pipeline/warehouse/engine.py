"""The connection to Postgres: address, pool, time limits, and errors on which a person can act."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import stamina
from psycopg import Error, OperationalError
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from strava_pipeline.errors import ConfigurationError, DatabaseTooSlow, DatabaseUnavailable, WarehouseError
from strava_pipeline.local.logins import Login, made_secrets_file, read_secrets
from strava_pipeline.local.postgres_logins import DAGSTER_DATABASE, WAREHOUSE_DATABASE
from strava_pipeline.own_process import application_name
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import USUAL_CONNECTIONS, Settings
from strava_pipeline.warehouse import connecting
from strava_pipeline.warehouse.addresses import parse_url, render, without_password
from strava_pipeline.warehouse.connecting import Session
from strava_pipeline.warehouse.database_moods import CANNOT_WRITE, Mood, mood_of
from strava_pipeline.warehouse.patience import connect_patiently
from strava_pipeline.warehouse.schema.columns import database_time

if TYPE_CHECKING:
    from strava_pipeline.local.postgres import Server

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 120_000
LOCK_MILLISECONDS = 30_000
# A page must not wait long for a primary that cannot be reached.
READING_CONNECT_SECONDS = 2
# A host that vanished is noticed after half a minute, both while we send and while we wait for an answer.
NETWORK_LIMITS = {
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# The server, too, gives up a client whose host vanished, and frees its locks; by the usual settings of Linux it would
# do so after two hours. Not for reading, which locks nothing: who reads may pause for long within an answer.
FREE_LOCKS = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# A connection that was used less than this long ago is not tested before it is used again: a test each time would cost
# every task one more round trip.
PING_AFTER_SECONDS = 1.0
READ_ONLY = {"default_transaction_read_only": "on"}
# So many connections stay open once they were used.
KEPT_CONNECTIONS = 5
KEEP_TRYING_SECONDS = 30
Result = TypeVar("Result")
log = get_logger(__name__)


def ensure_database_url(settings: Settings) -> URL:
    """Return the address of the tables for daily work; start the embedded Postgres where the settings say so.

    ``ConfigurationError`` if they name no database; so do the functions below.
    """
    text = settings.require_database()
    if settings.is_embedded:
        return _embedded(settings, Login.PIPELINE)
    return parse_url(text, "STRAVA_DATABASE_URL")


def ensure_owner_url(settings: Settings) -> URL:
    """Return the address for the owner of the tables, which ``migrate`` needs; may start the embedded Postgres."""
    settings.require_database()
    if settings.is_embedded:
        return _embedded(settings, Login.OWNER)
    if settings.database_owner_url is None:
        return ensure_database_url(settings)
    return parse_url(settings.database_owner_url.get_secret_value(), "STRAVA_DATABASE_OWNER_URL")


def ensure_administrator_url(settings: Settings) -> URL:
    """Return the address for creating roles: of the embedded server's superuser, else of the tables' owner.

    The owner may lack the right to create roles.
    """
    if settings.is_embedded:
        return make_url(_server(settings).set_up_url(WAREHOUSE_DATABASE))
    return ensure_owner_url(settings)


def ensure_sql_url(settings: Settings, login: Login) -> URL:
    """Return the address for ``sql`` (login ``SQL`` or ``SQL_AS_ANALYST``), never that of a login with more rights.

    ``ConfigurationError`` if there is no such login.
    """
    given, name = _sql_setting(settings, login)
    if given is not None:
        return parse_url(given.get_secret_value(), name)
    settings.require_database()
    if settings.is_embedded:
        return _embedded(settings, login)
    made = read_secrets(made_secrets_file(settings.home))
    if login not in made:
        raise ConfigurationError(
            f"sql has no login of its own in this Postgres: run strava-pipeline migrate, which makes {login} if it may,"
            f" or set {name} to the address of a login that may only read"
        )
    return ensure_database_url(settings).set(username=login, password=made[login])


def sql_login(settings: Settings, login: Login) -> str:
    """Return the name of the login that ``sql`` uses as ``login``: the configured one, else ours."""
    given, name = _sql_setting(settings, login)
    return login.value if given is None else parse_url(given.get_secret_value(), name).username or login.value


def _sql_setting(settings: Settings, login: Login) -> tuple[SecretStr | None, str]:
    return {
        Login.SQL: (settings.sql_database_url, "STRAVA_SQL_DATABASE_URL"),
        Login.SQL_AS_ANALYST: (settings.analyst_database_url, "STRAVA_ANALYST_DATABASE_URL"),
    }[login]


def ensure_dagster_url(settings: Settings) -> str:
    """Return the address of Dagster's own database, in the one spelling that dagster-postgres accepts.

    SQLAlchemy 2.1 takes a bare ``postgresql://`` for psycopg 3, with which Dagster's first event would fail.
    """
    if settings.dagster_postgres_url is not None:
        url = parse_url(settings.dagster_postgres_url.get_secret_value(), "DAGSTER_POSTGRES_URL")
    elif settings.is_embedded:
        url = _embedded(settings, Login.DAGSTER, DAGSTER_DATABASE)
    else:
        ours = ensure_database_url(settings)
        if ours.database is None:
            raise ConfigurationError(
                f"STRAVA_DATABASE_URL names no database that we can see ({without_password(ours)}), beside which"
                " Dagster's would be: set DAGSTER_POSTGRES_URL"
            )
        url = ours.set(database=f"{ours.database}_dagster")
    return render(url.set(drivername="postgresql+psycopg2"))


def open_engine(url: URL, *, part: str | None = None, connections: int = USUAL_CONNECTIONS) -> Engine:
    """Return an engine that raises ``DatabaseUnavailable``, in one line, when it cannot reach the database.

    ``part``: of the installation, as the server shows it; unset: this process. ``connections``: how many may be open.
    """
    return _engine(url, CONNECT_SECONDS, _session_settings(STATEMENT_MILLISECONDS) | FREE_LOCKS, part, connections)


def open_read_only_engine(
    url: URL, statement_seconds: float = STATEMENT_MILLISECONDS / 1000, *, connections: int = USUAL_CONNECTIONS
) -> Engine:
    """Return an engine whose sessions only read, and which does not wait long for a server that cannot be reached."""
    settings = _session_settings(statement_seconds * 1000) | READ_ONLY
    return _engine(url, READING_CONNECT_SECONDS, settings, None, connections)


def _session_settings(statement_milliseconds: float) -> dict[str, str]:
    return {
        "TimeZone": "UTC",
        "statement_timeout": f"{statement_milliseconds:.0f}",
        "lock_timeout": str(LOCK_MILLISECONDS),
        # A commit waits for the disk, whatever the server or the role sets.
        "synchronous_commit": "on",
    }


def _connect_arguments(url: URL, connect_seconds: int, part: str | None, *, reads_only: bool) -> dict[str, Any]:
    """The parameters for libpq besides those that the address names itself."""
    ours = NETWORK_LIMITS | {"connect_timeout": str(connect_seconds), "application_name": application_name(part)}
    arguments: dict[str, Any] = {name: value for name, value in ours.items() if name not in url.query}
    if reads_only and url.query.get("target_session_attrs") == "read-write":
        # Our sessions on the primary are read-only themselves, so that libpq would find no server.
        arguments["target_session_attrs"] = "primary"
    return arguments


def _engine(url: URL, connect_seconds: int, settings: Mapping[str, str], part: str | None, connections: int) -> Engine:
    reads_only = settings.items() >= READ_ONLY.items()
    kept = min(KEPT_CONNECTIONS, connections)
    engine = create_engine(
        url,
        # Rows are personal data: an error names the statement, never its values.
        hide_parameters=True,
        pool_size=kept,
        max_overflow=connections - kept,
        # The connection used last is used first: its prepared statements are reused.
        pool_use_lifo=True,
        connect_args=_connect_arguments(url, connect_seconds, part, reads_only=reads_only),
    )

    @event.listens_for(engine, "handle_error")
    def explain(context: ExceptionContext) -> WarehouseError | None:
        error = context.original_exception
        if not isinstance(error, Error):
            return None
        if isinstance(error, InsufficientPrivilege):
            return WarehouseError(f"the database at {without_password(url)} refuses: {_reason(error)}")
        if reads_only and error.sqlstate in CANNOT_WRITE:
            return None  # our own option forbids writing
        mood = mood_of(error, broken=context.is_disconnect)
        # The pool throws away this connection, and replaces its others before it hands them out.
        context.is_disconnect = mood is Mood.AWAY
        if mood is not Mood.STATEMENT:
            return database_unavailable_error(url, error)
        _leave_out_rows(error, context.sqlalchemy_exception)
        return None

    _connect_with(engine, settings, waits=not reads_only)
    _replace_connections_that_broke_while_idle(engine)
    return engine


def _connect_with(engine: Engine, settings: Mapping[str, str], *, waits: bool) -> None:
    """Let each transaction have these settings of Postgres.

    If the engine ``waits``, a thread that is patient waits for any connection but the first: a wrong address is told at
    once.
    """
    was_connected = threading.Event()

    @event.listens_for(engine, "do_connect")
    def connect(_: Dialect, __: object, ___: list[Any], parameters: dict[str, Any]) -> Session:
        new = partial(connecting.connect, parameters, settings)
        if waits and was_connected.is_set():
            return connect_patiently(new, lambda error: str(database_unavailable_error(engine.url, error)))
        connection = new()
        was_connected.set()
        return connection


def _replace_connections_that_broke_while_idle(engine: Engine) -> None:
    @event.listens_for(engine, "checkin")
    def note(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info["idle since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        used_at = entry.info.pop("idle since", None)  # None: the connection has just been opened
        if used_at is None or time.monotonic() - used_at < PING_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except Error as error:
            raise InvalidatePoolError from error  # the pool opens new connections


def autocommit(engine: Engine) -> Connection:
    """Return a connection on which each statement is its own transaction, for single reads and writes.

    A transaction would cost two more round trips, and the ROLLBACK after one that only read would discard the
    connection's prepared statements. Each statement has our settings through a pooler, too.
    """
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def retry_transaction(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Do ``work`` in one transaction and return its result; retry with back-off while the database is unavailable.

    ``work`` must have the same result when it is done twice, because a commit whose answer is lost may have succeeded.
    ``DatabaseUnavailable`` after about half a minute.
    """

    def once() -> Result:
        with engine.begin() as connection:
            return work(connection)

    retrying = stamina.RetryingCaller(
        attempts=None, timeout=KEEP_TRYING_SECONDS, wait_initial=0.2, wait_max=5, wait_jitter=0.2
    )
    return retrying(DatabaseUnavailable, once)


@contextmanager
def driver_errors(connection: Connection) -> Iterator[None]:
    """Raise what the block's use of the driver itself meets as an engine raises it, and throw away the connection."""
    try:
        yield
    except Error as error:
        driver = connection.connection.driver_connection
        mood = mood_of(error, broken=driver is None or driver.closed)
        if mood is Mood.STATEMENT:
            _leave_out_rows(error)
            raise
        if mood is Mood.AWAY:
            connection.invalidate(error)
        raise database_unavailable_error(connection.engine.url, error) from error


def _leave_out_rows(error: Error, wrapped: BaseException | None = None) -> None:
    """Leave Postgres' DETAIL and CONTEXT out of a driver's message, also where another error tells it.

    They hold values of the row, and a log keeps them for longer than the row may be kept.
    """
    if not (error.diag.message_detail or error.diag.context):
        return
    whole, first = str(error), f"{_reason(error)} (DETAIL and CONTEXT are left out)"
    error.args = (first,)
    if wrapped is not None:
        wrapped.args = tuple(str(part).replace(whole, first) for part in wrapped.args)


def database_unavailable_error(url: URL, error: Error) -> DatabaseUnavailable:
    """Return the error for a driver's failure to reach the database, or to get an answer in time."""
    where = f"the database at {without_password(url)}"
    if mood_of(error) is Mood.TOO_SLOW:
        return DatabaseTooSlow(f"{where} did not answer in time: {_reason(error)}")
    if error.sqlstate in CANNOT_WRITE:
        return DatabaseUnavailable(f"{where} accepts no writes: {_reason(error)}")
    return DatabaseUnavailable(f"{where} {'refuses' if is_refusal(error) else 'is away'}: {_reason(error)}")


def is_refusal(error: BaseException | None) -> bool:
    """Whether a server answered and refused the connection; psycopg gives no error code for this."""
    return isinstance(error, OperationalError) and error.sqlstate is None and " FATAL: " in str(error)


def _reason(error: BaseException) -> str:
    """The first line of a driver's message."""
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("connection failed: ") if lines else type(error).__name__


@dataclass(frozen=True)
class PoolUse:
    """The connections of an engine's pool: those at work, those that are open and idle, and how many may be open."""

    in_use: int
    idle: int
    limit: int


def pool_use(engine: Engine) -> PoolUse:
    """The use of an engine's pool now; an engine that keeps no connections has none."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return PoolUse(0, 0, 0)
    # There is no other way to read the overflow.
    return PoolUse(pool.checkedout(), pool.checkedin(), pool.size() + pool._max_overflow)  # noqa: SLF001


def now(connection: Connection) -> datetime:
    """Return the time (UTC) of the database's clock, which all processes use."""
    moment: datetime = connection.execute(select(database_time())).scalar_one()
    return moment


def limit_statements(connection: Connection, milliseconds: int) -> None:
    """Let each statement of the current transaction, and each wait for a lock, take this long at most."""
    limits = ("statement_timeout", "lock_timeout")
    connection.execute(select(*(func.set_config(name, str(milliseconds), True) for name in limits)))


def plan_for_now(connection: Connection) -> None:
    """Let Postgres plan each statement anew until the transaction ends.

    A plan is otherwise kept for the connection's life, and one made when a table was nearly empty reads the whole table
    each time.
    """
    connection.execute(select(func.set_config("plan_cache_mode", "force_custom_plan", True)))


def _embedded(settings: Settings, login: Login, database: str = WAREHOUSE_DATABASE) -> URL:
    return make_url(_server(settings).url(database, login))


def _server(settings: Settings) -> Server:
    from strava_pipeline.local.postgres import use_server  # noqa: PLC0415  only when needed

    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return use_server(settings.home)
