"""``init`` and ``migrate``."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import make_url, text

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.keyring import Keyring
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.logins import Login, made_secrets_file
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import open_engine, sql_url
from strava_pipeline.warehouse.made_logins import ensure_reading_logins
from strava_pipeline.warehouse.migrate import HEAD, open_warehouse
from strava_pipeline_tests.conftest import EMPTY, new_database
from webhook_bridge.app import check_settings


def test_init_writes_a_private_file_that_a_bridge_can_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "new"))
    shown = CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    assert shown.exit_code == 0
    path = tmp_path / "new" / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load_settings()
    check_settings(settings)
    assert len(Keyring.parse(settings.required("token_keys")).keys) == 1


def test_init_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path))
    (tmp_path / ".env").write_text("precious")
    with pytest.raises(ConfigurationError, match="is there already"):
        CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    assert (tmp_path / ".env").read_text() == "precious"


def migrate() -> tuple[str, list[str]]:
    """What it prints, and the lines beside it."""
    done = CliRunner().invoke(cli, ["migrate"], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, done.stderr.splitlines()


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """The name of an empty database, which is dropped afterwards, as is the one beside it for Dagster."""
    with new_database(server, EMPTY) as name:
        yield name
    with as_superuser(server.socket_dir, server.port) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}_dagster"'.encode())


def test_migrate_makes_the_tables_and_dagsters_database(
    empty: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.set_up_url(empty))
    for _ in range(2):
        assert migrate()[0] == f"tables at {HEAD}\n"
    beside = f"{empty}_dagster"
    with as_superuser(server.socket_dir, server.port, beside) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (beside,)


def test_migrate_as_a_stronger_login_gives_the_daily_one_its_rights_and_no_more(
    empty: str, server: Server, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(empty, Login.PIPELINE))
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.url(empty, Login.OWNER))
    migrate()
    with open_warehouse(load_settings()) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT session_user, count(*) FROM ops.users GROUP BY 1")).all() == []
        with pytest.raises(WarehouseError, match="refuses: permission denied"):
            connection.execute(text("CREATE TABLE strava.mine (a int)"))


def test_migrate_makes_the_logins_of_sql_where_it_may(
    empty: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a Postgres of one's own, where nobody has made them yet."""
    names = {Login.SQL: "own_sql", Login.SQL_AS_ANALYST: "own_sql_analyst"}
    monkeypatch.setattr("strava_pipeline.warehouse.made_logins.READING", {})
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.set_up_url(empty))
    _, left = migrate()
    assert left == []
    monkeypatch.undo()
    settings = Settings(home=tmp_path, database_url=SecretStr(server.set_up_url(empty)))
    engine = open_engine(make_url(server.set_up_url(empty)))
    with engine.begin() as connection:
        for login, name in names.items():
            connection.exec_driver_sql(f"ALTER ROLE {login} RENAME TO {name}")
        assert ensure_reading_logins(connection, tmp_path, []) == []
        assert ensure_reading_logins(connection, tmp_path, []) == []
        (made,) = connection.execute(
            text("SELECT array_agg(rolconnlimit ORDER BY rolname) FROM pg_roles WHERE rolname = ANY(:names)"),
            {"names": list(names)},
        ).one()
        assert made == [20, 20]
        assert sql_url(settings, Login.SQL).password == json.loads(made_secrets_file(tmp_path).read_text())[Login.SQL]
        assert stat.S_IMODE(made_secrets_file(tmp_path).stat().st_mode) == 0o600
        connection.rollback()
    engine.dispose()


def test_migrate_tells_in_one_line_each_what_an_administrator_runs(
    empty: str, server: Server, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(empty, Login.OWNER))
    monkeypatch.setenv("STRAVA_ANALYST_ROLE", "nobody_made_it")
    _, left = migrate()
    told = "\n".join(left)
    assert 'run CREATE ROLE "nobody_made_it" NOLOGIN as an administrator' in told
    assert "login strava_sql is there, but its secret is not in" in told
    assert "make large objects and run loops: in this database, as a superuser, run DO $do$" in told
