"""Starts a Postgres for one benchmark, migrated, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, make_url

from strava_pipeline.local.logins import SUPERUSER, Login
from strava_pipeline.local.postgres import Server, using_server
from strava_pipeline.local.postgres_logins import as_superuser, set_up_database
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.migrate import migrate

DATABASE = "benchmark"
# Off unless ``durable``: a simulation measures decisions, not the disk.
UNSAFE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")


@contextmanager
def migrated_database(*, durable: bool = False) -> Iterator[URL]:
    """Yield the URL of an empty, migrated database; ``durable``: commits reach the disk, as in operation."""
    with migrated_server(durable=durable) as server:
        yield owner_url(server)


@contextmanager
def migrated_server(*, durable: bool = False) -> Iterator[Server]:
    """Yield an embedded server with :data:`DATABASE`, empty and migrated, and with Dagster's database."""
    home = Path(tempfile.mkdtemp(prefix="strava-pipeline-benchmark-"))
    try:
        with kept_server(home, durable=durable) as server:
            yield server
    finally:
        shutil.rmtree(home)


@contextmanager
def kept_server(home: Path, *, durable: bool = False) -> Iterator[Server]:
    """Yield the embedded server of a folder, which stays; :data:`DATABASE` is made if need be, and migrated."""
    is_new = not (home / "postgres").exists()
    home.mkdir(parents=True, exist_ok=True)
    with using_server(home) as server:
        if is_new:
            if not durable:
                _settle_for_less(server)
            create_database(server)
        engine = open_engine(owner_url(server))
        migrate(engine)
        engine.dispose()
        yield server


def owner_url(server: Server) -> URL:
    """Return the URL of :data:`DATABASE` for the login that owns its tables."""
    return make_url(server.url(DATABASE, Login.OWNER))


def create_database(server: Server) -> None:
    """Create the database :data:`DATABASE`, without tables, on an embedded server."""
    with as_superuser(server.socket_dir, server.port) as connection:
        set_up_database(connection, DATABASE, Login.OWNER)


def _settle_for_less(server: Server) -> None:
    with psycopg.connect(host=str(server.socket_dir), user=SUPERUSER, dbname="postgres", autocommit=True) as connection:
        for name in UNSAFE_SETTINGS:
            connection.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")
