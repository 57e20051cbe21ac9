"""The connection: away in one line, no password in sight, and everyone on the database's clock."""

from __future__ import annotations

import re
import socket
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest
from sqlalchemy import Connection, Engine, insert, make_url, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable, WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import (
    NETWORK_LIMITS,
    autocommit,
    driver_errors,
    ensure_administrator_url,
    ensure_dagster_url,
    ensure_database_url,
    ensure_owner_url,
    ensure_sql_url,
    now,
    open_engine,
    open_read_only_engine,
    pool_use,
    retry_transaction,
)
from strava_pipeline.warehouse.schema.tables import activities


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_database_away_is_one_line_without_the_password() -> None:
    engine = open_engine(make_url(f"postgresql+psycopg://me:hunter2@127.0.0.1:{closed_port()}/rides"))
    with pytest.raises(DatabaseUnavailable) as caught, engine.connect():
        pass
    assert str(caught.value).startswith("the database at 127.0.0.1:")
    assert "\n" not in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + repr(engine)


def test_a_host_that_is_gone_without_a_word_is_noticed_within_half_a_minute(database: str) -> None:
    ours = {"keepalives_idle": "60", "keepalives": "0"}
    for named in ({}, ours):
        engine = open_engine(make_url(database).update_query_dict(named))
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            told = driver.info.get_parameters()
        engine.dispose()
        assert told.items() >= (NETWORK_LIMITS | named).items()


def test_the_server_shows_which_part_of_an_installation_a_connection_is_of(database: str) -> None:
    shown = text("SELECT current_setting('application_name')")
    named = make_url(database).update_query_dict({"application_name": "mine"})
    for engine, name in (
        (open_engine(make_url(database), part="run"), "strava-pipeline run"),
        (open_engine(named, part="run"), "mine"),
    ):
        with engine.connect() as connection:
            assert connection.execute(shown).scalar_one() == name
        engine.dispose()


def test_an_engine_opens_as_many_connections_as_it_may_and_no_more(database: str) -> None:
    engine = open_engine(make_url(database), connections=6)
    engine.pool._timeout = 0.01  # type: ignore[attr-defined]  # a pool tells no other way
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(engine.connect())
        with pytest.raises(PoolTimeout):
            engine.connect()
    assert pool_use(engine).limit == 6
    engine.dispose()


def test_pages_read_a_primary_that_is_named_by_what_it_accepts(database: str) -> None:
    """They are read-only themselves, and libpq would look for a server that lets them write."""
    named = make_url(database).update_query_dict({"target_session_attrs": "read-write"})
    engine = open_read_only_engine(named)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_setting('transaction_read_only')")).scalar_one() == "on"
    engine.dispose()


def test_a_broken_connection_is_database_away_and_the_next_one_works(engine: Engine) -> None:
    with engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(DatabaseUnavailable):
            connection.execute(select(1))
    with engine.connect() as connection:
        assert connection.execute(select(1)).scalar_one() == 1


def test_connections_that_broke_while_idle_are_replaced_unnoticed(
    engine: Engine, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strava_pipeline.warehouse.engine.PING_AFTER_SECONDS", 0.0)
    with engine.connect() as first, engine.connect() as second:
        pids = [connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in (first, second)]
    other = open_engine(make_url(database))
    with other.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid, 5000) FROM unnest(:pids) AS pid"), {"pids": pids})
    other.dispose()
    with engine.connect() as first, engine.connect() as second:
        assert first.execute(select(1)).scalar_one() == second.execute(select(1)).scalar_one() == 1


def test_a_connection_that_was_used_just_now_is_taken_to_be_there(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[object] = []
    monkeypatch.setattr(engine.dialect, "do_ping", pings.append)
    monkeypatch.setattr("strava_pipeline.warehouse.engine.PING_AFTER_SECONDS", 3600.0)
    for _ in range(2):
        with engine.connect() as connection:
            connection.execute(select(1))
    assert pings == []


def test_what_was_prepared_outlasts_a_look_by_autocommit(engine: Engine) -> None:
    prepared = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE :text")
    for _ in range(10):
        with autocommit(engine) as connection:
            connection.execute(text("SELECT 'looked at' AS this"))
    with engine.begin() as connection:
        assert connection.execute(prepared, {"text": "SELECT 'looked at' AS this"}).scalar_one() == 1


def test_a_statement_past_its_time_limit_is_database_away(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 20"))
        with pytest.raises(DatabaseUnavailable, match=r"did not answer in time: .*statement timeout"):
            connection.execute(text("SELECT pg_sleep(5)"))


def test_a_lock_that_others_hold_too_long_is_no_dead_database(engine: Engine) -> None:
    with engine.begin() as holder, engine.connect() as waiter:
        holder.execute(text("LOCK TABLE ops.users"))
        waiter.execute(text("SET LOCAL lock_timeout = 20"))
        with pytest.raises(DatabaseUnavailable, match=r"did not answer in time: .*lock timeout"):
            waiter.execute(text("SELECT * FROM ops.users"))


def test_a_missing_right_is_told_in_one_line(analyst_engine: Engine) -> None:
    with (
        analyst_engine.begin() as connection,
        pytest.raises(WarehouseError, match="refuses: permission denied") as caught,
    ):
        connection.execute(text("SELECT * FROM ops.users"))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, DatabaseUnavailable)


def test_a_refused_row_is_told_without_its_values(engine: Engine) -> None:
    """By a statement, and by a COPY, which the driver does itself."""
    with pytest.raises(IntegrityError) as refused, engine.begin() as connection:
        connection.execute(insert(activities).values(id=1, athlete_id=2, resource_state=2, name="Jodlersteig"))
    with engine.begin() as connection, pytest.raises(psycopg.Error) as copied:
        copy_row(connection, "1\tJodlersteig\n")
    for caught in (refused, copied):
        told = "".join(traceback.format_exception(caught.value))
        assert "violates not-null constraint" in told
        assert "DETAIL and CONTEXT are left out" in told
        assert re.findall("Failing row|CONTEXT:", told) == []


def copy_row(connection: Connection, row: str) -> None:
    cursor = driver_of(connection).cursor()
    with driver_errors(connection), cursor.copy("COPY strava.activities (id, name) FROM STDIN") as copy:
        copy.write(row)


def test_dagsters_storage_is_a_database_beside_ours_with_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", "postgres://me:hunter2@db.example:5433/rides?sslmode=require")
    assert (
        ensure_dagster_url(load_settings())
        == "postgresql+psycopg2://me:hunter2@db.example:5433/rides_dagster?sslmode=require"
    )
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://them@other/dagster")
    assert ensure_dagster_url(load_settings()) == "postgresql+psycopg2://them@other/dagster"


def test_the_clock_is_the_databases_and_moves_within_a_transaction(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second = now(connection), now(connection)
    assert first < second
    assert first.utcoffset() is not None
    assert not first.utcoffset()


def test_the_word_embedded_means_the_embedded_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "strava_pipeline.warehouse.engine._embedded",
        lambda settings, login: make_url(f"postgresql+psycopg://{login}@/{settings.home.name}"),
    )
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    assert ensure_database_url(load_settings()).database == "home"
    assert ensure_database_url(load_settings()).username == "strava_pipeline"


@pytest.mark.parametrize(
    "ensure",
    [
        ensure_database_url,
        ensure_owner_url,
        ensure_administrator_url,
        ensure_dagster_url,
        partial(ensure_sql_url, login=Login.SQL),
    ],
    ids=["tables", "owner", "administrator", "dagster", "sql"],
)
def test_without_an_address_nothing_is_started_and_no_folder_is_made(
    ensure: Callable[[Settings], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # This alone says nothing of the tables.
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", "postgresql://owner@db.example/strava")
    with pytest.raises(ConfigurationError, match=r"^STRAVA_DATABASE_URL is not set: .* or `embedded`"):
        ensure(load_settings())
    assert not load_settings().home.exists()


def terminate(engine: Engine, pid: int) -> None:
    with engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def test_a_transaction_whose_connection_breaks_is_done_again(engine: Engine) -> None:
    pids = []

    def work(connection: Connection) -> int:
        pids.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        if len(pids) == 1:
            terminate(engine, pids[0])
        return int(connection.execute(text("SELECT 7")).scalar_one())

    assert retry_transaction(engine, work) == 7
    assert len(set(pids)) == 2


def test_what_is_no_broken_connection_is_not_repeated(engine: Engine) -> None:
    calls = []

    def work(_: Connection) -> None:
        calls.append(1)
        raise ConfigurationError("a setting")

    with pytest.raises(ConfigurationError):
        retry_transaction(engine, work)
    assert calls == [1]


def test_a_server_that_lets_nobody_in_refuses_and_is_not_away(database: str) -> None:
    right = make_url(database)
    for wrong, reason in (
        (right.set(password="wrong-secret"), "password authentication failed"),
        (right.set(database="nowhere"), "does not exist"),
        (right.set(database="postgres"), "permission denied for database"),
    ):
        engine = open_engine(wrong)
        with pytest.raises(DatabaseUnavailable, match=f"refuses: .*{reason}") as caught:
            engine.connect()
        assert "away" not in str(caught.value)
        engine.dispose()
