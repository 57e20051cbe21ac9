"""Dagster's database in a Postgres of one's own: made by whoever may, fit for the login that Dagster uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url, text

from strava_pipeline.errors import DatabaseUnavailable, WarehouseError
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.access.dagster_database import ensure_dagster_database
from strava_pipeline.warehouse.addresses import render
from strava_pipeline_tests.conftest import opened
from strava_pipeline_tests.ports import free_port

SECRET = "the-secret-of-both"


@dataclass(frozen=True)
class Own:
    """A Postgres of one's own: a database, a plain login, and one that owns the database."""

    server: Server
    name: str
    plain: str
    maker: str

    @property
    def dagster(self) -> str:
        return f"{self.name}_dagster"

    def url(self, login: str, database: str) -> URL:
        return make_url(self.server.set_up_url(database)).set(username=login, password=SECRET)

    def run(self, statement: str, database: str = "postgres") -> None:
        with as_superuser(self.server.socket_dir, self.server.port, database) as connection:
            connection.execute(statement.encode())

    def value(self, query: str) -> object:
        with as_superuser(self.server.socket_dir, self.server.port) as connection:
            found = connection.execute(query.encode()).fetchone()
        return found and found[0]


@pytest.fixture
def own(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    # Names that need quotes.
    number = uuid4().hex
    found = Own(server, f'odd "name" 100% {number}', f"plain-{number}", f"maker-{number}")
    for login in (found.plain, found.maker):
        found.run(f"CREATE ROLE \"{login}\" LOGIN PASSWORD '{SECRET}'")
    quoted = found.name.replace('"', '""')
    found.run(f'CREATE DATABASE "{quoted}" OWNER "{found.maker}"')
    found.run(f'GRANT CONNECT ON DATABASE "{quoted}" TO "{found.plain}"')
    monkeypatch.setenv("STRAVA_DATABASE_URL", shown(found.url(found.plain, found.name)))
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", shown(found.url(found.maker, found.name)))
    yield found
    for name in (quoted, f"{quoted}_dagster"):
        found.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    found.run(f'DROP ROLE "{found.plain}", "{found.maker}"')


def shown(url: URL) -> str:
    return render(url.set(drivername="postgresql"))


def check_dagster_works(own: Own) -> None:
    with opened(own.url(own.plain, own.dagster)) as engine, engine.begin() as connection:
        connection.execute(text("CREATE TABLE runs (id bigserial)"))
        connection.execute(text("INSERT INTO runs DEFAULT VALUES"))
    ensure_dagster_database(load_settings())


def owner(own: Own) -> object:
    name = own.dagster.replace("'", "''")
    return own.value(f"SELECT datdba::regrole::text FROM pg_database WHERE datname = '{name}'")  # noqa: S608  ours


@pytest.mark.parametrize(
    ("right", "whose"),
    [
        pytest.param("CREATEDB", "maker", id="who may not give it away opens it to Dagster's login"),
        pytest.param("SUPERUSER", "plain", id="a superuser gives it to Dagster's login"),
    ],
)
def test_whoever_may_create_databases_makes_it_for_dagsters_login_alone(own: Own, right: str, whose: str) -> None:
    own.run(f'ALTER ROLE "{own.maker}" {right}')
    for _ in range(2):
        ensure_dagster_database(load_settings())
    assert owner(own) == f'"{getattr(own, whose)}"'
    assert own.value(f"SELECT has_database_privilege('public', '{own.dagster}', 'CONNECT')") is False
    check_dagster_works(own)


@pytest.mark.parametrize("owner_is_set", [True, False])
def test_where_nobody_may_create_it_an_administrator_is_told_the_statement(
    own: Own, owner_is_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not owner_is_set:
        monkeypatch.delenv("STRAVA_DATABASE_OWNER_URL")
    quoted = own.dagster.replace('"', '""')
    statement = f'CREATE DATABASE "{quoted}" OWNER "{own.plain}"'
    with pytest.raises(WarehouseError) as caught:
        ensure_dagster_database(load_settings())
    told = str(caught.value)
    assert f"(permission denied to create database): run {statement} as an administrator" in told
    assert "STRAVA_DATABASE_OWNER_URL" in told
    assert "\n" not in told
    own.run(statement)
    check_dagster_works(own)


@pytest.mark.parametrize("fault", ["may make no tables", "may not enter", "tables are somebody else's"])
def test_one_that_dagsters_login_cannot_use_is_told_with_what_mends_it(own: Own, fault: str) -> None:
    quoted = own.dagster.replace('"', '""')
    own.run(f'CREATE DATABASE "{quoted}"')
    if fault == "may not enter":
        own.run(f'REVOKE ALL ON DATABASE "{quoted}" FROM PUBLIC')
    if fault == "tables are somebody else's":
        own.run(f'CREATE TABLE alembic_version (n int); GRANT CREATE ON SCHEMA public TO "{own.plain}"', own.dagster)
    with pytest.raises(WarehouseError, match="as an administrator, in that database, run GRANT CONNECT") as caught:
        ensure_dagster_database(load_settings())
    assert "\n" not in str(caught.value)
    own.run(str(caught.value).partition(" run ")[2], own.dagster)
    check_dagster_works(own)


def test_whoever_may_give_the_rights_gives_them(own: Own) -> None:
    """As after a crash between creating it and giving them."""
    quoted = own.dagster.replace('"', '""')
    own.run(f'CREATE DATABASE "{quoted}" OWNER "{own.maker}"')
    own.run(f'REVOKE ALL ON DATABASE "{quoted}" FROM PUBLIC')
    ensure_dagster_database(load_settings())
    check_dagster_works(own)


def test_rights_on_the_systems_own_tables_are_neither_given_nor_advised(own: Own) -> None:
    own.run(f'ALTER ROLE "{own.maker}" SUPERUSER; ALTER ROLE "{own.plain}" SET search_path = pg_catalog')
    with pytest.raises(WarehouseError, match='ON SCHEMA "public" TO') as caught:
        ensure_dagster_database(load_settings())
    assert "pg_catalog" not in str(caught.value)
    allowed = "SELECT bool_or(has_table_privilege(grantee, 'pg_authid', 'SELECT')) FROM (VALUES ('{}')) AS v (grantee)"
    with as_superuser(own.server.socket_dir, own.server.port, own.dagster) as connection:
        assert connection.execute(allowed.format(own.plain).encode()).fetchone() == (False,)


def test_tables_that_are_there_are_enough(own: Own) -> None:
    own.run(f'ALTER ROLE "{own.maker}" SUPERUSER')
    ensure_dagster_database(load_settings())
    check_dagster_works(own)
    own.run("ALTER SCHEMA public OWNER TO postgres", own.dagster)
    ensure_dagster_database(load_settings())


def test_a_wrong_password_is_told_as_such(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    quoted = own.dagster.replace('"', '""')
    own.run(f'CREATE DATABASE "{quoted}" OWNER "{own.plain}"')
    wrong = own.url(own.plain, own.dagster).set(password="wrong")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", shown(wrong))
    with pytest.raises(WarehouseError, match=r"refuses: .*password authentication failed for user \S+$"):
        ensure_dagster_database(load_settings())


def test_a_server_of_its_own_that_lets_nobody_in_is_told_with_the_statement(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = own.url("stranger", "elsewhere")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", shown(stranger))
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    with pytest.raises(
        WarehouseError, match='if it is not there yet, run CREATE DATABASE "elsewhere" OWNER "stranger"'
    ):
        ensure_dagster_database(load_settings())


def test_a_server_that_is_away_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"postgresql://127.0.0.1:{free_port()}/dagster")
    with pytest.raises(DatabaseUnavailable, match="is away"):
        ensure_dagster_database(load_settings())
