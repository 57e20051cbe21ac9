"""Commands tell a database that is away, or refuses writes, in one line that names it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, make_url

from strava_pipeline.cli import cli
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.local.logins import Login
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.conftest import EMPTY, SETTINGS, new_database
from strava_pipeline_tests.moody_server import MoodyDatabase

ATHLETE = 7
READING = [
    ("athletes", "list"),
    ("dead-letters", "list"),
    ("keys", "status"),
    ("quota",),
    ("remap",),
    ("sql", "SELECT 1"),
]
WRITING = [
    ("athletes", "disconnect", str(ATHLETE), "--yes"),
    ("backfill", "--athlete", str(ATHLETE), "--from", "2026-01", "--to", "2026-02"),
    ("connect", "--code", "a-code"),
    ("migrate",),
    ("webhook", "status"),
]


@pytest.fixture(autouse=True)
def app(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app with an athlete, both of whose databases are on the server with the moods."""
    server = moody.on.server
    with new_database(server, EMPTY, Login.DAGSTER) as dagsters:
        given = {
            "STRAVA_DATABASE_URL": moody.address,
            "STRAVA_SQL_DATABASE_URL": server.url(moody.name, Login.SQL),
            "DAGSTER_POSTGRES_URL": server.url(dagsters, Login.DAGSTER),
            "STRAVA_API_URL": "http://127.0.0.1:9/api",
            "STRAVA_OAUTH_URL": "http://127.0.0.1:9/oauth",
        }
        for name, value in (SETTINGS | given).items():
            monkeypatch.setenv(name, value)
        engine = open_engine(make_url(moody.address))
        with engine.begin() as connection:
            connection.execute(insert(users).values(athlete_id=ATHLETE, scopes=[], state="active", generation=1))
        engine.dispose()
        yield
        moody.on.cheer_up()


def told(*arguments: str) -> str:
    """The one line with which a command ends."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code != 0, result.output
    assert isinstance(result.exception, StravaPipelineError), result.exc_info
    return str(result.exception)


@pytest.mark.parametrize("arguments", READING + WRITING, ids=" ".join)
def test_a_stopped_database_is_told_in_one_line(moody: MoodyDatabase, arguments: tuple[str, ...]) -> None:
    moody.on.stop()
    assert "database at" in told(*arguments)


@pytest.mark.parametrize("arguments", WRITING, ids=" ".join)
def test_a_read_only_database_is_told_in_one_line(moody: MoodyDatabase, arguments: tuple[str, ...]) -> None:
    moody.on.become_replica()
    line = told(*arguments)
    assert "accepts no writes" in line, line
    assert "\n" not in line
