"""``analysts``: a login is made with its limits, its secret is told once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Engine, make_url, text

from strava_pipeline.cli import cli
from strava_pipeline.cli.analysts import add
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.made_logins import create_login, role_exists
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.migrate import prepare

NAME = "mira_of_the_club"
AT_ONCE = 4
ROUNDS = 5


@pytest.fixture
def administered(
    settings: Settings, server: Server, database_name: str, admin_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """As where STRAVA_DATABASE_OWNER_URL names somebody who may make roles."""
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.set_up_url(database_name))
    yield admin_engine
    with admin_engine.begin() as connection:
        if role_exists(connection, NAME):
            connection.exec_driver_sql(f"DROP OWNED BY {NAME}; DROP ROLE {NAME}")


def call(*arguments: str) -> str:
    return CliRunner().invoke(cli, ["analysts", *arguments], catch_exceptions=False).stdout


def test_a_login_is_made_that_reads_at_once_and_is_limited(administered: Engine) -> None:
    address = call("add", NAME).strip()
    login = open_engine(make_url(address).set(drivername="postgresql+psycopg"))
    with login.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM strava.activities")).scalar_one() == 0
        assert connection.execute(text("SHOW temp_file_limit")).scalar_one() == "1GB"
        with pytest.raises(WarehouseError, match="permission denied for schema ops"):
            connection.execute(text("TABLE ops.users"))
    login.dispose()
    told = call("list")
    assert f"{NAME} connections=5 " in told
    assert str(make_url(address).password) not in told


def test_a_login_that_is_there_and_a_name_that_needs_quotes_are_refused(administered: Engine) -> None:
    call("add", NAME)
    with pytest.raises(WarehouseError, match=rf'GRANT "strava_analyst" TO {NAME} to let it read'):
        call("add", NAME)
    for name in ('o"brien', "Mira", "pg_mira", "", "a b", "x" * 64):
        with pytest.raises(ConfigurationError, match="is no name for a login"):
            call("add", "--", name)


@pytest.mark.usefixtures("settings")
def test_who_may_not_make_logins_is_told_what_an_administrator_runs(
    server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.url(database_name, Login.OWNER))
    with pytest.raises(WarehouseError, match=r"may not make logins: .*administrator, run CREATE ROLE mira LOGIN"):
        call("add", "mira")


@pytest.mark.usefixtures("settings")
def test_a_plain_login_is_told_which_setting_names_a_stronger_one() -> None:
    with pytest.raises(WarehouseError, match="may not make logins: set STRAVA_DATABASE_OWNER_URL to a user that may"):
        call("add", "mira")


@pytest.mark.usefixtures("settings")
def test_the_list_of_nobody_says_so() -> None:
    assert call("list") == "nobody is an analyst yet: run strava-pipeline analysts add NAME\n"


def test_a_login_that_cannot_become_an_analyst_is_not_made(
    settings: Settings, server: Server, database_name: str, admin_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may make logins may not always give away a role that somebody else made."""
    maker = "maker"
    with admin_engine.begin() as connection:
        create_login(connection, maker, "the-secret-of-the-maker")
        connection.exec_driver_sql(f"ALTER ROLE {maker} CREATEROLE; GRANT {Login.OWNER} TO {maker}")
        connection.exec_driver_sql(f'GRANT CONNECT ON DATABASE "{database_name}" TO {maker}')
    url = make_url(server.url(database_name, Login.OWNER)).set(username=maker, password="the-secret-of-the-maker")
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", url.render_as_string(hide_password=False))
    with pytest.raises(WarehouseError, match=f'run GRANT "strava_analyst" TO "{NAME}" as an administrator'):
        call("add", NAME)
    with admin_engine.begin() as connection:
        assert not role_exists(connection, NAME)
        connection.exec_driver_sql(f"DROP OWNED BY {maker}; DROP ROLE {maker}")


@pytest.mark.parametrize("name", ["public", "none", "user", "current_user", "session_user", "all", "left"])
def test_a_word_of_sql_is_no_name(administered: Engine, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is no name for a login: the word has a meaning in SQL"):
        call("add", name)


def test_what_an_analyst_sets_for_themselves_does_not_reach_the_console(administered: Engine) -> None:
    call("add", NAME)
    evil = "\x1b]0;owned\x07\nforged line"
    with administered.begin() as connection:
        for setting in ("search_path", "evil.setting"):
            driver_of(connection).execute(
                SQL("ALTER ROLE {} SET {} = {}").format(Identifier(NAME), Identifier(setting), Literal(evil))
            )
    told = call("list")
    assert "owned" not in told
    assert [line for line in told.splitlines() if "forged" in line] == []
    assert f"{NAME} connections=5 " in told


def test_any_number_may_give_rights_at_once(administered: Engine, settings: Settings) -> None:
    given = load_settings()
    names = [f"{NAME}_{number}" for number in range(AT_ONCE)]
    gate = threading.Barrier(2 * AT_ONCE)
    # Not by CliRunner, which exchanges the whole process' stdout.
    assert add.callback is not None
    make = add.callback

    def give(name: str) -> None:
        gate.wait()
        for _ in range(ROUNDS if name == "" else 1):
            if name:
                make(name)
            else:
                assert prepare(given).left == []

    try:
        with ThreadPoolExecutor(2 * AT_ONCE) as pool:
            assert list(pool.map(give, [*names, *[""] * AT_ONCE])) == [None] * 2 * AT_ONCE
    finally:
        with administered.begin() as connection:
            for name in names:
                if role_exists(connection, name):
                    connection.exec_driver_sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_nobody_is_made_a_member_of_a_role_that_is_no_group_of_readers(
    administered: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_ANALYST_ROLE", Login.OWNER)
    refusal = f"'{Login.OWNER}' is no role for analysts: that is a login of ours"
    (left,) = prepare(load_settings()).left
    assert refusal in left
    with pytest.raises(WarehouseError, match=refusal):
        call("add", NAME)
    with administered.begin() as connection:
        member = text("SELECT pg_has_role(:login, :role, 'MEMBER')")
        given = {"login": Login.SQL_AS_ANALYST, "role": Login.OWNER}
        assert not connection.execute(member, given).scalar_one()
        assert not role_exists(connection, NAME)
