"""The analysts' role: reads every table of schema strava, future ones included, and nothing of schema ops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Engine, inspect, make_url, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.warehouse.analyst import become_analyst, can_read, ensure_analyst_role
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine

ROLE = 'Analysts of "rides"'


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """A name nobody has yet; roles belong to the whole server."""
    yield ROLE
    with engine.begin() as connection:
        if can_read(connection, ROLE):
            driver_of(connection).execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(ROLE)))


def test_it_reads_schema_strava_and_is_refused_schema_ops(engine: Engine, role: str) -> None:
    ensure_analyst_role(engine, role)
    ensure_analyst_role(engine, role)
    ours = inspect(engine)
    names = [*ours.get_table_names("strava"), *ours.get_view_names("strava")]
    assert {"activities", "activity_points", "weekly_totals"} <= set(names)
    with engine.begin() as connection:
        become_analyst(connection, role)
        for name in names:
            assert connection.execute(text(f"TABLE strava.{name}")).all() == []
    for refused in (
        *(f"TABLE ops.{name}" for name in ours.get_table_names("ops")),
        "DELETE FROM strava.activities",
        "CREATE TABLE strava.mine (a int)",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
    ):
        with engine.connect() as connection:
            become_analyst(connection, role)
            with pytest.raises(WarehouseError, match="refuses: permission denied"):
                connection.execute(text(refused))


def test_it_reads_tables_that_are_made_later(engine: Engine, role: str) -> None:
    ensure_analyst_role(engine, role)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE strava.later AS SELECT 7 AS seven"))
        become_analyst(connection, role)
        assert connection.execute(text("SELECT seven FROM strava.later")).scalar_one() == 7


def test_it_cannot_log_in_and_a_login_that_is_a_member_reads(engine: Engine, role: str, database: str) -> None:
    ensure_analyst_role(engine, role)
    with engine.begin() as connection:
        rights = text("SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = :role")
        assert tuple(connection.execute(rights, {"role": role}).one()) == (False, False, False)
        driver_of(connection).execute(SQL("CREATE ROLE mira LOGIN IN ROLE {}").format(Identifier(role)))
    login = open_engine(make_url(database).set(username="mira"))
    try:
        with login.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM strava.rides")).scalar_one() == 0
    finally:
        login.dispose()
        with engine.begin() as connection:
            connection.execute(text("DROP ROLE mira"))


@pytest.fixture
def plain(engine: Engine, database: str) -> Iterator[Engine]:
    """An engine of a database user who owns the tables but may not create roles."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE plain LOGIN; ALTER SCHEMA strava OWNER TO plain")
        for name in [*inspect(engine).get_table_names("strava"), *inspect(engine).get_view_names("strava")]:
            connection.exec_driver_sql(f"ALTER TABLE strava.{name} OWNER TO plain")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA ops TO plain; GRANT ALL ON ops.locks TO plain")
    opened = open_engine(make_url(database).set(username="plain"))
    yield opened
    opened.dispose()
    with engine.begin() as connection:
        connection.exec_driver_sql("REASSIGN OWNED BY plain TO CURRENT_USER; DROP OWNED BY plain; DROP ROLE plain")


def test_a_user_who_may_not_create_it_is_told_what_to_do(engine: Engine, plain: Engine, role: str) -> None:
    with pytest.raises(WarehouseError, match=r"may not create it: run CREATE ROLE .* NOLOGIN as an admin") as caught:
        ensure_analyst_role(plain, role)
    assert "\n" not in str(caught.value)
    with engine.begin() as connection:
        driver_of(connection).execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
    ensure_analyst_role(plain, role)
    with plain.connect() as connection:
        assert can_read(connection, role)
        with pytest.raises(WarehouseError, match="may not act as role"):
            become_analyst(connection, role)


def test_a_user_who_may_create_roles_can_act_as_the_one_it_created(engine: Engine, plain: Engine, role: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER ROLE plain CREATEROLE")
    ensure_analyst_role(plain, role)
    ensure_analyst_role(plain, role)
    with plain.connect() as connection:
        become_analyst(connection, role)
        assert connection.execute(text("SELECT count(*) FROM strava.activities")).scalar_one() == 0
