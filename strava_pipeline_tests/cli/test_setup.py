"""``init`` and ``migrate``."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.keyring import Keyring
from strava_pipeline.local.logins import Login, made_secrets_file
from strava_pipeline.local.postgres import Server, using_server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.settings import load_settings
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
    with pytest.raises(ConfigurationError, match="exists already"):
        CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    assert (tmp_path / ".env").read_text() == "precious"


ONE_ROW = "SELECT session_user FROM strava.activities RIGHT JOIN (VALUES (1)) AS one (n) ON true"


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


def test_migrate_makes_the_logins_of_sql_where_it_may_and_sql_uses_them(
    new_home: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a Postgres of one's own, where nobody has made them yet."""
    with using_server(new_home()) as own:
        with as_superuser(own.socket_dir, own.port, "strava") as connection:
            for login in (Login.SQL, Login.SQL_AS_ANALYST):
                connection.execute(f"DROP OWNED BY {login}; DROP ROLE {login}".encode())
        monkeypatch.setenv("STRAVA_DATABASE_URL", own.set_up_url("strava"))
        for _ in range(2):
            assert migrate() == (f"tables at {HEAD}\n", [])
        path = made_secrets_file(load_settings().home)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert set(json.loads(path.read_text())) == {Login.SQL, Login.SQL_AS_ANALYST}
        for viewer, login in (((), Login.SQL), (("--as-analyst",), Login.SQL_AS_ANALYST)):
            query = ("sql", *viewer, "--format", "csv", ONE_ROW)
            assert CliRunner().invoke(cli, query, catch_exceptions=False).stdout == f"session_user\n{login}\n"
        # On another machine nobody knows the secrets.
        path.unlink()
        _, left = migrate()
        assert len(left) == 2
        assert all("is there, but its secret is not in" in line and "_DATABASE_URL" in line for line in left)
        with pytest.raises(ConfigurationError, match="sql has no login of its own in this Postgres"):
            CliRunner().invoke(cli, ["sql", "SELECT 1"], catch_exceptions=False)


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


def test_a_plain_login_that_migrates_is_told_which_setting_names_the_owner(
    empty: str, database_name: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new database as in one that has its tables."""
    for name in (empty, database_name):
        monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(name, Login.PIPELINE))
        with pytest.raises(WarehouseError, match=r"permission denied .* set STRAVA_DATABASE_OWNER_URL") as told:
            CliRunner().invoke(cli, ["migrate"], catch_exceptions=False)
        assert "\n" not in str(told.value)


def test_migrate_makes_dagsters_database_as_the_stronger_login(
    empty: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(empty, Login.DAGSTER))
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.set_up_url(empty))
    migrate()
    with as_superuser(server.socket_dir, server.port) as connection:
        owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = %s"
        assert connection.execute(owner, [f"{empty}_dagster"]).fetchone() == (Login.DAGSTER,)
