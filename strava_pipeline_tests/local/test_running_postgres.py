"""The addresses of an embedded Postgres that runs; one that does not is neither started nor touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import make_url

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import find_server
from strava_pipeline.local.running_postgres import PostgresNotRunning, with_running_postgres
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import EMBEDDED
from strava_pipeline_tests.moody_server import MoodyServer


def test_the_addresses_are_those_of_the_logins_and_given_ones_stay(own_server: MoodyServer) -> None:
    given = "postgresql://sql@127.0.0.1/strava"
    found = with_running_postgres(Settings(home=own_server.home, database_url=EMBEDDED, sql_database_url=given))
    names = {"database_url": Login.PIPELINE, "analyst_database_url": Login.SQL_AS_ANALYST}
    for field, login in (names | {"dagster_postgres_url": Login.DAGSTER}).items():
        url = make_url(found.required(field))
        assert (url.username, url.password) == (login, own_server.server.secrets[login])
        assert url.query["host"] == str(own_server.server.socket_dir)
    assert found.required("sql_database_url") == given


def test_a_postgres_of_the_operators_own_is_not_looked_at(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url="postgresql://127.0.0.1:1/strava")
    assert with_running_postgres(settings) is settings


def test_one_that_was_never_started_is_told_and_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(PostgresNotRunning, match="is not there yet") as told:
        with_running_postgres(Settings(home=tmp_path / "home", database_url=EMBEDDED))
    assert not told.value.is_there
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "noted",
    [
        "",
        "2147483647\n",
        # The number of a killed server is in use again, by this process.
        f"{os.getpid()}\n/data\n1790000000\n5432\n/data\n\n",
    ],
    ids=["empty", "gone", "in-use-again"],
)
def test_what_a_killed_server_left_is_no_server_and_stays_as_it_is(tmp_path: Path, noted: str) -> None:
    file = tmp_path / "postgres" / "postmaster.pid"
    file.parent.mkdir()
    file.write_text(noted)
    assert find_server(tmp_path) is None
    assert file.read_text() == noted
    with pytest.raises(PostgresNotRunning, match="does not run") as told:
        with_running_postgres(Settings(home=tmp_path, database_url=EMBEDDED))
    assert told.value.is_there


def test_a_server_that_was_stopped_is_found_no_more(own_server: MoodyServer) -> None:
    assert find_server(own_server.home) == own_server.server
    own_server.stop()
    assert find_server(own_server.home) is None
    own_server.start()
    assert find_server(own_server.home) == own_server.server
