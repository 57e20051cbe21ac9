"""What an analyst's login tries in order to halt the pipeline, or to see what it was not given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import LOGIN_SECONDS, MAX_CONNECTIONS, NOTIFY_PAGES
from strava_pipeline.warehouse.access.analyst import ensure_analyst_role, join_analysts
from strava_pipeline.warehouse.access.analyst_limits import CONNECTIONS, FIXED_LIMITS, TIMES
from strava_pipeline.warehouse.access.made_logins import create_login
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine

NAME = "attacker"
SECRET = "the-secret-of-the-attacker"


@pytest.fixture
def address(admin_engine: Engine, server: Server, database_name: str) -> Iterator[str]:
    """The address of an analyst as `analysts add` makes them."""
    with admin_engine.begin() as connection:
        create_login(connection, NAME, SECRET)
        join_analysts(connection, "strava_analyst", NAME)
    ensure_analyst_role(admin_engine, "strava_analyst")
    url = make_url(server.url(database_name, Login.SQL)).set(drivername="postgresql", username=NAME, password=SECRET)
    yield url.render_as_string(hide_password=False)
    with admin_engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {NAME}; DROP ROLE {NAME}")


@pytest.fixture
def attacker(address: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with closing(psycopg.connect(address, autocommit=True)) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_advisory_lock(7283002)",
        "SELECT pg_advisory_xact_lock(1, 2)",
        "SELECT pg_try_advisory_lock_shared(n) FROM generate_series(1, 10000000) AS n",
        "SELECT lo_create(0) FROM generate_series(1, 10000000)",
        "SELECT lo_from_bytea(0, 'x')",
        "CREATE TEMP TABLE filled AS SELECT 1",
        "CREATE TEMP VIEW filled AS SELECT 1",
        "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))",
        "SELECT pg_notify('strava_inbox', 'x')",
        "SELECT pg_export_snapshot()",
        "CREATE FUNCTION public.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "DO $$ BEGIN LOOP RAISE LOG 'fills the log'; END LOOP; END $$",
        "SET log_min_messages = 'debug5'",
        "SET log_min_error_statement = 'error'",
        "SELECT txid_current() FROM generate_series(1, 1000000000)",
        "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''cat'''; END $$",
        "TABLE ops.users",
        "SELECT query_to_xml('TABLE ops.users', true, true, '')",
        "SELECT * FROM ts_stat('SELECT to_tsvector(strava_access_token) FROM ops.users')",
        "SELECT set_config('role', 'strava_owner', true)",
        "SELECT nextval('ops.webhook_claims')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'strava_pipeline' LIMIT 1",
        f"ALTER ROLE {NAME} CONNECTION LIMIT -1",
        f"ALTER ROLE {NAME} SUPERUSER",
        f"ALTER ROLE {NAME} SET temp_file_limit = -1",
        "SET temp_file_limit = -1",
        "GRANT strava_owner TO attacker",
        "BEGIN; LOCK TABLE strava.activities IN SHARE MODE",
        "SELECT id FROM strava.activities FOR UPDATE",
        "SELECT sequence_name FROM ops.alembic_version",
        "TABLE pg_statistic",
    ],
)
def test_is_refused(attacker: psycopg.Connection[tuple[object, ...]], engine: Engine, statement: str) -> None:
    # One of the pipeline's sessions is there to be ended.
    with engine.connect(), pytest.raises(psycopg.errors.InsufficientPrivilege):
        attacker.execute(statement.encode())


def test_sees_no_statement_of_others_and_no_statistics_of_schema_ops(
    attacker: psycopg.Connection[tuple[object, ...]], owner_engine: Engine
) -> None:
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ops.put_aside SELECT n, 'x', n, 'secret', now(), now(), now(), now(),"
                " 'unusable', 1, now()"
                " FROM generate_series(1, 100) AS n"
            )
        )
        connection.execute(text("ANALYZE ops.put_aside"))
    with owner_engine.connect() as connection:
        connection.execute(text("SELECT 'what nobody sees'"))
        seen = attacker.execute("SELECT query FROM pg_stat_activity WHERE usename <> current_user").fetchall()
    assert {query for (query,) in seen} <= {"<insufficient privilege>", "", None}
    assert attacker.execute("SELECT 1 FROM pg_stats WHERE schemaname = 'ops'").fetchall() == []


@pytest.mark.parametrize("database", ["postgres", "template1", "strava_dagster", "strava"])
def test_logs_in_to_no_other_database(address: str, server: Server, database: str) -> None:
    other = make_url(address).set(database=database).render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(other)


def test_takes_few_connections_and_the_pipeline_has_its_own(address: str, admin_engine: Engine, engine: Engine) -> None:
    def taken() -> int:
        with ExitStack() as held:
            for number in range(MAX_CONNECTIONS + 1):
                try:
                    held.enter_context(closing(psycopg.connect(address)))
                except psycopg.OperationalError:
                    with engine.connect() as connection:
                        assert connection.execute(text("SELECT 1")).scalar_one() == 1
                    return number
        raise AssertionError("no end of connections")

    assert taken() == CONNECTIONS
    with admin_engine.begin() as connection:
        driver_of(connection).execute(f"ALTER ROLE {NAME} CONNECTION LIMIT -1")
    # As many analysts together would.
    assert CONNECTIONS < taken() < MAX_CONNECTIONS / 2


def test_has_limits_from_its_first_session_on(attacker: psycopg.Connection[tuple[object, ...]]) -> None:
    for name, value in {**TIMES, **FIXED_LIMITS}.items():
        assert attacker.execute(f"SHOW {name}".encode()).fetchone() == (value,)


def test_fills_no_disk_by_a_join_of_everything_with_everything(
    attacker: psycopg.Connection[tuple[object, ...]], admin_engine: Engine, address: str
) -> None:
    with admin_engine.begin() as connection:
        driver_of(connection).execute(f"ALTER ROLE {NAME} SET temp_file_limit = '1MB'")
    joined = "SELECT a.n FROM generate_series(1, 1000000) AS a(n), generate_series(1, 1000) AS b ORDER BY a.n % 7, b"
    with (
        closing(psycopg.connect(address)) as connection,
        pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="temp_file_limit"),
    ):
        connection.execute(joined.encode())


def test_fills_no_log(attacker: psycopg.Connection[tuple[object, ...]], server: Server) -> None:
    attacker.execute("SET debug_print_plan = on")
    for statement in ("SELECT 'canary' FROM nowhere", "SELECT 'canary'", "SELECT 1 / 0 AS canary"):
        with suppress(psycopg.Error):
            attacker.execute(statement.encode())
    assert "canary" not in (server.socket_dir / "server.log").read_text()


def test_a_login_that_is_no_analyst_is_refused_everything(server: Server, admin_engine: Engine) -> None:
    with admin_engine.begin() as connection:
        create_login(connection, "nobody_yet", SECRET)
    url = make_url(server.url(str(admin_engine.url.database), Login.SQL)).set(username="nobody_yet", password=SECRET)
    stranger = open_engine(url)
    with pytest.raises(WarehouseError, match="permission denied for database"):
        stranger.connect()
    stranger.dispose()
    with admin_engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE nobody_yet")


def test_fills_no_more_than_half_a_megabyte_by_notifying(
    address: str, attacker: psycopg.Connection[tuple[object, ...]], engine: Engine
) -> None:
    with psycopg.connect(address, autocommit=True) as listener:
        listener.execute("LISTEN x")
        listener.execute("BEGIN")
        listener.execute("SELECT 1")
        payload = "x" * 7990
        notifying = ";".join(f"NOTIFY x, '{number}{payload}'" for number in range(2 * NOTIFY_PAGES))
        with pytest.raises(psycopg.OperationalError, match="too many notifications in the NOTIFY queue"):
            attacker.execute(notifying.encode())
        # Nothing of the pipeline's notifies.
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM ops.operator_sessions"))


def test_who_does_not_log_in_is_cut_off_soon(attacker: psycopg.Connection[tuple[object, ...]]) -> None:
    assert attacker.execute("SHOW authentication_timeout").fetchone() == (f"{LOGIN_SECONDS}s",)
