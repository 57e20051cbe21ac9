"""The lock of Dagster's storage, on a real server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from strava_pipeline.local.kept_lock import StorageTaken
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.storage_lock import LONGEST_NAME, StorageLock, take_storage_lock
from strava_pipeline_tests.eventually import eventually


@pytest.fixture
def storage(dagster_database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name an empty storage of Dagster's."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    return load_settings()


@contextmanager
def taken(settings: Settings) -> Iterator[StorageLock]:
    lock = take_storage_lock(settings)
    try:
        yield lock
    finally:
        lock.close()


def sessions(server: Server, settings: Settings, column: str) -> list[object]:
    """A column of the sessions in the storage."""
    name = make_url(settings.required("dagster_postgres_url")).database
    with as_superuser(server.socket_dir, server.port) as connection:
        query = SQL("SELECT {} FROM pg_stat_activity WHERE datname = %s").format(Identifier(column))
        return [value for (value,) in connection.execute(query, (name,))]


def test_a_second_one_is_told_who_has_it_and_what_to_do(storage: Settings) -> None:
    with taken(storage), pytest.raises(StorageTaken) as refused:
        take_storage_lock(storage)
    told = str(refused.value)
    name = make_url(storage.required("dagster_postgres_url")).database
    assert told.startswith("another strava-pipeline up has Dagster's storage at ")
    assert f"/{name} (up on {socket.gethostname()[:40]}" in told
    assert f"process {os.getpid()}, since 20" in told
    assert told.endswith(
        " UTC): stop that one, or give this one a storage of its own, by another STRAVA_HOME or DAGSTER_POSTGRES_URL"
    )
    assert "\n" not in told


def test_it_is_free_again_once_the_connection_ends(storage: Settings) -> None:
    for _ in range(2):
        with taken(storage):
            pass


def test_a_long_name_of_a_machine_leaves_the_process_its_place(
    storage: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 253)
    with taken(storage):
        (name,) = sessions(server, storage, "application_name")
    assert isinstance(name, str)
    assert len(name) == LONGEST_NAME
    assert name.endswith(f", process {os.getpid()}")


def test_it_holds_back_no_vacuum(storage: Settings, server: Server) -> None:
    with taken(storage):
        assert sessions(server, storage, "state") == ["idle in transaction"]
        assert sessions(server, storage, "backend_xmin") == [None]
        assert sessions(server, storage, "backend_xid") == [None]


def test_no_time_limit_of_the_server_ends_it(storage: Settings, server: Server) -> None:
    url = make_url(storage.required("dagster_postgres_url"))
    with as_superuser(server.socket_dir, server.port) as connection:
        limits = ["idle_in_transaction_session_timeout", "idle_session_timeout"]
        known = connection.execute("SELECT name FROM pg_settings WHERE name = 'transaction_timeout'").fetchall()
        for limit in (*limits, *(name for (name,) in known)):
            change = SQL("ALTER DATABASE {} SET {} = 100").format(Identifier(url.database or ""), Identifier(limit))
            connection.execute(change)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with taken(storage):
        ended = psycopg.connect(plain)
        ended.execute("SELECT 1")
        eventually(lambda: len(sessions(server, storage, "pid")) == 1, "the end of a session without the lock")
        ended.close()
        with pytest.raises(StorageTaken):
            take_storage_lock(storage)


def test_dagsters_that_share_a_database_have_a_lock_each(storage: Settings, dagster_database: str) -> None:
    url = make_url(dagster_database)
    with taken(storage):
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
            role, database = Identifier(url.username or ""), Identifier(url.database or "")
            connection.execute("CREATE SCHEMA other")
            # Connections of Dagster's login have another schema from here on.
            connection.execute(SQL("ALTER ROLE {} IN DATABASE {} SET search_path = other").format(role, database))
        with taken(storage), pytest.raises(StorageTaken):
            take_storage_lock(storage)
