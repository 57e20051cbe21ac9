"""Through a real PgBouncer: what each transaction needs holds in it, however the pooler lends its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from strava_pipeline.errors import ConfigurationError, DatabaseTooSlow, WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse import migrate
from strava_pipeline.warehouse.access.read_only_query import answering
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.connecting import is_pooled, refuses_writes
from strava_pipeline.warehouse.engine import (
    LOCK_MILLISECONDS,
    STATEMENT_MILLISECONDS,
    autocommit,
    open_read_only_engine,
)
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.work_tables import write_probe
from strava_pipeline.warehouse.write_probe import probe_write
from strava_pipeline_tests.conftest import opened
from strava_pipeline_tests.pgbouncer import PgBouncer, Pooling, pgbouncer
from strava_pipeline_tests.strava_stand_in import StravaStandIn, import_listed
from strava_pipeline_tests.sync.june import JUNE, bring_up_to_date, ids, three_rides

POOLINGS = [Pooling(mode, leaves_out) for mode in ("transaction", "session") for leaves_out in (True, False)]
OURS = {
    "TimeZone": "UTC",
    "statement_timeout": f"{STATEMENT_MILLISECONDS // 60_000}min",
    "lock_timeout": f"{LOCK_MILLISECONDS // 1000}s",
    "synchronous_commit": "on",
}
SETTINGS = "SELECT " + ", ".join(f"current_setting('{name}')" for name in OURS)
# Each of its connections is lent more than once.
MORE_THAN_SERVERS = 10
A_MONTHS_ACTIVITIES = 401
Begin = Callable[[Engine], AbstractContextManager[Connection]]


@pytest.fixture(scope="module", params=POOLINGS, ids=str)
def pooler(server: Server, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    with pgbouncer(server, request.param) as bouncer:
        yield bouncer


@pytest.fixture
def contrary(admin_engine: Engine, database_name: str) -> None:
    """The server would give each session of the database other settings than ours."""
    theirs = {"TimeZone": "Asia/Tokyo", "statement_timeout": "0", "lock_timeout": "0", "synchronous_commit": "off"}
    with admin_engine.begin() as connection:
        for name, value in theirs.items():
            connection.execute(text(f"ALTER DATABASE {database_name} SET {name} = '{value}'"))


@pytest.fixture
def pooled(pooler: PgBouncer, database: str, contrary: None) -> Iterator[Engine]:
    """An engine for the tables through the pooler."""
    with opened(pooler.url(database)) as engine:
        yield engine


def transaction(engine: Engine) -> AbstractContextManager[Connection]:
    return engine.begin()


both_ways = pytest.mark.parametrize("begin", [transaction, autocommit])


def in_transaction(engine: Engine) -> object:
    with engine.begin() as connection:
        return connection.execute(text(SETTINGS)).one()


def in_autocommit(engine: Engine) -> object:
    with autocommit(engine) as connection:
        return connection.execute(text(SETTINGS)).one()


def by_driver(engine: Engine) -> object:
    with engine.connect() as connection:
        return driver_of(connection).execute(SETTINGS.encode()).fetchone()


def in_a_pipeline(engine: Engine) -> object:
    with engine.connect() as connection, driver_of(connection).pipeline():
        return driver_of(connection).execute(SETTINGS.encode()).fetchone()


def by_a_servers_cursor(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.execution_options(stream_results=True).execute(text(SETTINGS)).one()


def by_copy(engine: Engine) -> object:
    query = f"COPY ({SETTINGS}) TO STDOUT".encode()
    with engine.connect() as connection, driver_of(connection).cursor().copy(query) as copy:
        return tuple(b"".join(bytes(block) for block in copy).decode().strip().split("\t"))


def in_a_stream(engine: Engine) -> object:
    with engine.connect() as connection:
        (row,) = driver_of(connection).cursor().stream(SETTINGS.encode())
        return row


WAYS = [in_transaction, in_autocommit, by_driver, in_a_pipeline, by_a_servers_cursor, by_copy, in_a_stream]


@pytest.mark.parametrize("way", WAYS)
def test_time_zone_limits_and_synchronous_commits_hold_whichever_way_a_transaction_begins(
    pooled: Engine, way: Callable[[Engine], object]
) -> None:
    for _ in range(MORE_THAN_SERVERS):
        assert way(pooled) == tuple(OURS.values())


@both_ways
def test_a_commit_waits_for_the_disk(pooled: Engine, admin_engine: Engine, begin: Begin) -> None:
    write = text(
        "INSERT INTO ops.write_probe (id, at) VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = now()"
        " RETURNING pg_current_wal_insert_lsn()::text"
    )
    for _ in range(MORE_THAN_SERVERS):
        with begin(pooled) as connection:
            written = connection.execute(write).scalar_one()
        with admin_engine.connect() as connection:
            flushed = text("SELECT pg_current_wal_flush_lsn() >= CAST(:written AS pg_lsn)")
            assert connection.execute(flushed, {"written": written}).scalar_one()


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM ops.write_probe")).scalar_one())


def by_statement(connection: Connection) -> None:
    connection.execute(insert(write_probe).values(id=1, at=database_time()))


def by_many(connection: Connection) -> None:
    driver_of(connection).cursor().executemany("INSERT INTO ops.write_probe (id, at) VALUES (%s, now())", [(1,)])


def after_asking_to(connection: Connection) -> None:
    connection.execute(text("SET TRANSACTION READ WRITE"))
    by_statement(connection)


def test_each_statement_of_autocommit_is_kept_at_once_and_one_that_fails_ends_nothing(
    pooled: Engine, engine: Engine
) -> None:
    with autocommit(pooled) as connection:
        by_statement(connection)
        assert stored(engine) == 1
        with pytest.raises(IntegrityError):
            by_statement(connection)
        connection.execute(write_probe.delete())
        assert stored(engine) == 0
        by_many(connection)
        assert stored(engine) == 1


def test_a_transaction_that_fails_leaves_nothing(pooled: Engine, engine: Engine) -> None:
    def write_twice() -> None:
        with pooled.begin() as connection:
            by_statement(connection)
            by_statement(connection)

    for _ in range(MORE_THAN_SERVERS):
        with pytest.raises(IntegrityError):
            write_twice()
    assert stored(engine) == 0


@pytest.mark.parametrize("write", [by_statement, by_many, after_asking_to])
@both_ways
def test_a_pages_connection_cannot_write(
    pooler: PgBouncer, database: str, engine: Engine, write: Callable[[Connection], None], begin: Begin
) -> None:
    page = open_read_only_engine(pooler.url(database))

    def try_to_write() -> None:
        with begin(page) as connection:
            write(connection)

    with pytest.raises((DBAPIError, psycopg.Error), match=r"read-only transaction|before any query"):
        try_to_write()
    assert stored(engine) == 0
    page.dispose()


@both_ways
def test_a_statement_past_its_limit_is_ended(pooler: PgBouncer, database: str, begin: Begin) -> None:
    page = open_read_only_engine(pooler.url(database), statement_seconds=0.05)
    with begin(page) as connection, pytest.raises(DatabaseTooSlow):
        connection.execute(text("SELECT pg_sleep(30)"))
    page.dispose()


@both_ways
def test_times_are_read_and_reckoned_in_utc(pooled: Engine, begin: Begin) -> None:
    moment, day = datetime(2026, 3, 1, 23, 30, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    query = text("SELECT t, date_trunc('day', t), ARRAY[t] FROM (SELECT CAST(:moment AS timestamptz) AS t) AS given")
    with begin(pooled) as connection:
        for _ in range(MORE_THAN_SERVERS):
            same, its_day, several = connection.execute(query, {"moment": moment}).one()
            assert (same, its_day, several) == (moment, day, [moment])
            assert {each.utcoffset() for each in (same, its_day, *several)} == {timedelta(0)}


def test_many_threads_share_few_connections_and_prepare_nothing(pooled: Engine) -> None:
    threads = Pooling().servers  # in session mode each keeps one

    def work(number: int) -> int:
        for _ in range(3 * MORE_THAN_SERVERS):
            with autocommit(pooled) as connection:
                connection.execute(text("SELECT name FROM ops.locks WHERE athlete_id = :athlete"), {"athlete": number})
            with pooled.begin() as connection:
                connection.execute(text("SELECT count(*) FROM ops.users"))
        with pooled.begin() as connection:
            return int(connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one())

    with ThreadPoolExecutor(threads) as workers:
        assert [*workers.map(work, range(threads))] == [0] * threads


@both_ways
def test_nothing_is_sent_after_the_end_of_what_goes_together(pooled: Engine, tmp_path: Path, begin: Begin) -> None:
    sent = tmp_path / "sent"
    with begin(pooled) as connection, sent.open("w+b") as trace:
        driver_of(connection).pgconn.trace(trace.fileno())
        connection.execute(text("SELECT 1"))
        driver_of(connection).pgconn.untrace()
    # The kinds of messages to the pooler.
    ours = [line.split("\t")[3] for line in sent.read_text().splitlines() if line.split("\t")[1] == "F"]
    assert (ours[-1], "Flush" in ours) == ("Sync", False)


def test_a_backfill_ends(pooled: Engine) -> None:
    bring_up_to_date(three_rides(), pooled)
    assert ids(pooled, activities) == [1, 2, 3]
    strava = StravaStandIn()
    for number in range(1, A_MONTHS_ACTIVITIES + 1):
        strava.add(number, JUNE.start + timedelta(minutes=number))
    # New rows go by COPY, and changed ones by a temporary table.
    assert import_listed(strava.sync(pooled), [JUNE])[0].stored == A_MONTHS_ACTIVITIES
    for number in range(1, A_MONTHS_ACTIVITIES + 1):
        strava.edit(number, name="Renamed")
    assert import_listed(strava.sync(pooled), [JUNE])[0].stored == A_MONTHS_ACTIVITIES


@both_ways
def test_options_of_the_address_hold_beside_ours(pooler: PgBouncer, database: str, begin: Begin) -> None:
    own = {"options": r"-c work_mem=7MB --jit=off -c search_path=strava,\ ops -c timezone=Asia/Tokyo"}
    query = f"{SETTINGS}, current_setting('work_mem'), current_setting('jit'), current_setting('search_path')"
    for address in (database, pooler.address(database)):
        with opened(parse_url(address, "the address").update_query_dict(own)) as engine, begin(engine) as connection:
            assert tuple(connection.execute(text(query)).one()) == (*OURS.values(), "7MB", "off", "strava, ops")


def test_options_that_a_transaction_may_not_set_are_refused_in_one_line(pooler: PgBouncer, database: str) -> None:
    own = pooler.url(database).update_query_dict({"options": "-c ignore_system_indexes=on"})
    with (
        opened(own) as engine,
        pytest.raises(ConfigurationError, match=r"^the database's .* a pooler, .*ALTER ROLE") as told,
    ):
        engine.connect()
    assert "\n" not in str(told.value)


def test_sql_has_its_limits_and_reads_only(
    pooler: PgBouncer, server: Server, database_name: str, contrary: None
) -> None:
    url = pooler.url(server.url(database_name, Login.SQL))
    with answering(url, "SELECT current_setting('TimeZone'), n FROM generate_series(1, 3000) AS n", 30) as answer:
        assert [*answer.rows] == [("UTC", number) for number in range(1, 3001)]

    def ask(query: str, seconds: float) -> None:
        with answering(url, query, seconds) as answer:
            assert [*answer.rows] == []

    with pytest.raises(WarehouseError, match=r"read-only|permission denied|must not contain"):
        ask("WITH d AS (DELETE FROM strava.activities RETURNING 1) SELECT * FROM d", 30)
    with pytest.raises(WarehouseError, match=r"the query failed: .*(timeout|--timeout)"):
        ask("SELECT pg_sleep(30)", 0.2)


def test_whether_the_server_accepts_writes_is_asked_and_not_taken_from_what_the_pooler_remembers(
    pooled: Engine, admin_engine: Engine, database_name: str
) -> None:
    def refuses() -> bool:
        with opened(pooled.url) as engine, engine.connect() as connection:
            driver = driver_of(connection)
            assert is_pooled(driver)
            return refuses_writes(driver)

    assert not refuses()
    ending = text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = :login"
    )
    pooled.dispose()
    with admin_engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database_name} SET default_transaction_read_only = on"))
    with admin_engine.begin() as connection:
        connection.execute(ending, {"login": str(Login.PIPELINE)})
    assert refuses()


def test_tables_are_made_through_a_pooler(
    pooler: PgBouncer, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", pooler.address(empty_database))
    settings = load_settings()
    migrate.prepare(settings)
    with migrate.open_warehouse(settings) as engine:
        probe_write(engine)
        assert stored(engine) == 1
