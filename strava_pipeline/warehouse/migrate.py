"""Creates and updates the tables (alembic), and tells whether that is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from strava_pipeline.errors import DatabaseAway, WarehouseError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.analyst import ensure_analyst_role
from strava_pipeline.warehouse.engine import database_url, open_engine
from strava_pipeline.warehouse.locks import take_migrations
from strava_pipeline.warehouse.ops_tables import SCHEMA
from strava_pipeline.warehouse.views import create_views

log = logging.getLogger(__name__)

HEAD = "0012"
VERSION_SCHEMA = SCHEMA
VERSION_TABLE = "alembic_version"
_SCRIPTS = Path(__file__).parent / "migrations"


@contextmanager
def open_warehouse(settings: Settings) -> Iterator[Engine]:
    """The engine of the tables, which an empty database gets first; its connections are closed afterwards.

    ``WarehouseError`` if the tables are outdated.
    """
    engine = open_engine(database_url(settings))
    try:
        if is_empty(engine):
            migrate(engine)
            _offer_to_analysts(engine, settings.analyst_role)
        check_migrated(engine)
        yield engine
    finally:
        engine.dispose()


def _offer_to_analysts(engine: Engine, role: str) -> None:
    try:
        ensure_analyst_role(engine, role)
    except WarehouseError as error:
        # Nothing but analysts' access depends on it.
        log.warning("%s", error)


def migrate(engine: Engine) -> str:
    """Bring the tables to :data:`HEAD`, all or nothing; returns the revision they had before, or ''.

    ``WarehouseError`` if a newer program made them: there is no way back, because it would lose data. The same if
    somebody holds the tables for longer than half a minute.
    """
    with engine.connect() as connection:
        before = _stored_revision(connection)
    return before if before == HEAD else _migrate(engine)


def _migrate(engine: Engine) -> str:
    try:
        with engine.begin() as connection:
            take_migrations(connection, VERSION_SCHEMA, VERSION_TABLE)
            # Another one may have been at it until now.
            before = _stored_revision(connection)
            if before != HEAD:
                _upgrade(connection, before, HEAD)
                create_views(connection)
            return before
    except DatabaseAway as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise WarehouseError(
                "the tables were not changed: somebody reads them in a transaction that stays open, or migrates as"
                " well; end that one (pg_stat_activity tells whose it is), then run strava-pipeline migrate again"
            ) from error
        raise


def _upgrade(connection: Connection, before: str, target: str) -> None:
    from alembic import command  # noqa: PLC0415  takes half a second that only this function needs
    from alembic.config import Config  # noqa: PLC0415  see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415  see above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    if before and before not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
        raise WarehouseError(
            f"the tables are at revision {before}, which this program (it ends at {HEAD}) does not know: tables are"
            " never taken back; install the version that made them, or restore a backup from before"
        )
    command.upgrade(config, target)


def check_migrated(engine: Engine) -> None:
    """``WarehouseError`` unless the tables are the ones this program knows."""
    with engine.connect() as connection:
        revision = _stored_revision(connection)
    if not revision:
        raise WarehouseError("the database has no tables yet: run strava-pipeline migrate")
    if revision != HEAD:
        raise WarehouseError(
            f"the tables are at revision {revision}, this program needs {HEAD}:"
            " run strava-pipeline migrate with the newest installed version"
        )


def is_empty(engine: Engine) -> bool:
    """Nothing of ours has been created in this database yet."""
    with engine.connect() as connection:
        return not _stored_revision(connection)


def create_database(url_text: str) -> None:
    """Create the database an address names if it is not there; needs the right to create databases."""
    url = make_url(url_text).set(drivername="postgresql+psycopg")
    admin = create_engine(
        url.set(database="postgres"), isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}
    )
    try:
        with admin.connect() as connection:
            exists = connection.execute(
                text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": url.database}
            ).scalar()
            if not exists:
                quoted = connection.dialect.identifier_preparer.quote(str(url.database))
                connection.exec_driver_sql(f"CREATE DATABASE {quoted}")
    except (IntegrityError, OperationalError, ProgrammingError) as error:
        if "already exists" in str(error.orig):
            return
        reason = str(error.orig).strip().splitlines()[-1]
        raise WarehouseError(f"database {url.database} cannot be created: {reason}") from None
    finally:
        admin.dispose()


def _stored_revision(connection: Connection) -> str:
    if not inspect(connection).has_table(VERSION_TABLE, schema=VERSION_SCHEMA):
        return ""
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_SCHEMA}.{VERSION_TABLE}")).scalar()  # noqa: S608  constants
    return str(found or "")
