"""The analysts' role: reads every table of schema strava, future ones included, and nothing of schema ops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Engine, inspect, make_url, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import SUPERUSER, Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.access.analyst import ensure_analyst_role, join_analysts
from strava_pipeline.warehouse.access.analyst_limits import CONNECTIONS, FIXED_LIMITS, TIMES, find_analysts
from strava_pipeline.warehouse.access.made_logins import create_login, role_exists
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine

ROLE = 'Analysts of "rides"'
SECRET = "the secret of mira"


def drop(engine: Engine, *names: str) -> None:
    """Roles belong to the whole server."""
    for name in names:
        with engine.begin() as connection:
            if role_exists(connection, name):
                driver_of(connection).execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(name)))


@pytest.fixture
def role(admin_engine: Engine) -> Iterator[str]:
    """A name nobody has yet."""
    yield ROLE
    drop(admin_engine, ROLE)


@pytest.fixture
def mira(admin_engine: Engine, server: Server, database_name: str, role: str) -> Iterator[URL]:
    """The address of an analyst's login, which is a member of the role."""
    ensure_analyst_role(admin_engine, role)
    with admin_engine.begin() as connection:
        create_login(connection, "mira", SECRET)
        join_analysts(connection, role, "mira")
    yield make_url(server.url(database_name, Login.SQL)).set(username="mira", password=SECRET)
    drop(admin_engine, "mira")


def test_a_login_that_is_a_member_reads_schema_strava_and_is_refused_schema_ops(
    engine: Engine, mira: URL, admin_engine: Engine, role: str
) -> None:
    ensure_analyst_role(admin_engine, role)
    ours = inspect(engine)
    names = [*ours.get_table_names("strava"), *ours.get_view_names("strava")]
    assert {"activities", "activity_points", "weekly_totals"} <= set(names)
    login = open_engine(mira)
    with login.begin() as connection:
        for name in names:
            assert connection.execute(text(f"TABLE strava.{name}")).all() == []
    for refused in (
        *(f"TABLE ops.{name}" for name in ours.get_table_names("ops")),
        "DELETE FROM strava.activities",
        "CREATE TABLE strava.mine (a int)",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
    ):
        with login.connect() as connection, pytest.raises(WarehouseError, match="refuses: permission denied"):
            connection.execute(text(refused))
    login.dispose()


def test_it_reads_tables_that_are_made_later(owner_engine: Engine, mira: URL) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("CREATE TABLE strava.later AS SELECT 7 AS seven"))
    login = open_engine(mira)
    with login.connect() as connection:
        assert connection.execute(text("SELECT seven FROM strava.later")).scalar_one() == 7
    login.dispose()


def test_it_cannot_log_in(admin_engine: Engine, role: str) -> None:
    ensure_analyst_role(admin_engine, role)
    with admin_engine.begin() as connection:
        rights = text("SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = :role")
        assert tuple(connection.execute(rights, {"role": role}).one()) == (False, False, False)


def test_each_member_is_limited_at_the_next_migration_unless_it_has_limits(
    admin_engine: Engine, mira: URL, role: str
) -> None:
    with admin_engine.begin() as connection:
        assert [(found.connection_limit, found.settings) for found in find_analysts(connection, role)] == [(-1, {})]
        driver_of(connection).execute("ALTER ROLE mira SET statement_timeout = '3h'")
    assert ensure_analyst_role(admin_engine, role) == []
    with admin_engine.begin() as connection:
        (found,) = find_analysts(connection, role)
    assert found.connection_limit == CONNECTIONS
    assert found.settings == {**TIMES, **FIXED_LIMITS, "statement_timeout": "3h"}


@pytest.fixture
def plain(admin_engine: Engine, server: Server, database_name: str) -> Iterator[Engine]:
    """An engine of a database user who owns the tables but may not create roles."""
    with admin_engine.begin() as connection:
        create_login(connection, "plain", SECRET)
        connection.exec_driver_sql(f"GRANT {Login.OWNER} TO plain; GRANT CONNECT ON DATABASE {database_name} TO plain")
    opened = open_engine(make_url(server.url(database_name, Login.SQL)).set(username="plain", password=SECRET))
    yield opened
    opened.dispose()
    drop(admin_engine, "plain")


def test_a_user_who_may_not_create_it_is_told_what_to_do(admin_engine: Engine, plain: Engine, role: str) -> None:
    with pytest.raises(WarehouseError, match=r"may not create it: run CREATE ROLE .* NOLOGIN as an admin") as caught:
        ensure_analyst_role(plain, role)
    assert "\n" not in str(caught.value)
    with admin_engine.begin() as connection:
        driver_of(connection).execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
        create_login(connection, "mira", SECRET)
        join_analysts(connection, role, "mira")
    (left,) = ensure_analyst_role(plain, role)
    assert "analyst mira has no limits, and this database user may not set them: run ALTER ROLE" in left
    with plain.connect() as connection:
        granted = text("SELECT has_table_privilege(:role, 'strava.activities', 'SELECT')")
        assert connection.execute(granted, {"role": role}).scalar_one()
    drop(admin_engine, "mira")


def test_a_user_who_may_create_roles_creates_it(admin_engine: Engine, plain: Engine, role: str) -> None:
    with admin_engine.begin() as connection:
        connection.exec_driver_sql("ALTER ROLE plain CREATEROLE")
    ensure_analyst_role(plain, role)
    assert ensure_analyst_role(plain, role) == []


@pytest.mark.parametrize("held", ["ALTER ROLE mira SET work_mem = '1MB'", "ALTER ROLE mira PASSWORD 'another'"])
def test_an_analyst_who_holds_their_own_settings_is_left_out_and_all_others_are_limited(
    admin_engine: Engine, mira: URL, role: str, held: str
) -> None:
    names = ("anna", "zoe")
    with admin_engine.begin() as connection:
        for name in names:
            create_login(connection, name, SECRET)
            join_analysts(connection, role, name)
    login = open_engine(mira)
    try:
        with login.begin() as holder:
            # The row has to be there, for it to be held.
            holder.execute(text("ALTER ROLE mira SET work_mem = '2MB'"))
        with login.begin() as holder:
            holder.execute(text(held))
            (left,) = ensure_analyst_role(admin_engine, role)
        assert left.startswith("analyst mira has not all limits: somebody changes that login at this time")
        with admin_engine.begin() as connection:
            limited = {found.name: found.settings for found in find_analysts(connection, role)}
        assert [limited[name] for name in names] == [{**TIMES, **FIXED_LIMITS}] * 2
        assert ensure_analyst_role(admin_engine, role) == []
    finally:
        login.dispose()
        drop(admin_engine, *names)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("public", "that name is the server's"),
        ("none", "that name is the server's"),
        ("pg_read_all_data", "that name is the server's"),
        (Login.PIPELINE.value, "that is a login of ours"),
        (Login.OWNER.value, "that is a login of ours"),
        ("mighty", "that role may do more than read"),
        ("behind_mighty", "that role may do more than read"),
        ("somebody", "that role can log in"),
        ("behind_ours", "that role is a member of a login of ours"),
        (SUPERUSER, "that role may do more than read"),
    ],
)
def test_a_role_that_is_more_than_a_group_of_readers_is_refused(admin_engine: Engine, name: str, why: str) -> None:
    with admin_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE ROLE mighty CREATEROLE; CREATE ROLE behind_mighty IN ROLE mighty; CREATE ROLE somebody LOGIN;"
            f" CREATE ROLE behind_ours IN ROLE {Login.PIPELINE}"
        )
    try:
        with pytest.raises(WarehouseError, match=f"'{name}' is no role for analysts: {why}"):
            ensure_analyst_role(admin_engine, name)
    finally:
        drop(admin_engine, "behind_mighty", "mighty", "somebody", "behind_ours")
