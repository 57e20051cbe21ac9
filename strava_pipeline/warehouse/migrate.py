"""Creates and upgrades the tables (by alembic) and the rights on them, and tells whether that is needed.

Revisions with one first digit only add to what a bridge reads and writes (schema ``ops``). So a bridge goes on with
tables that a later version has upgraded; whatever writes activities does not. A revision that takes something away from
``ops`` begins a new thousand. A test looks at what each revision changes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from sqlalchemy import URL, Connection, Engine, inspect, text

from strava_pipeline.errors import DatabaseUnavailable, WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.analyst import ensure_analyst_role, join_analysts, why_unfit
from strava_pipeline.warehouse.access.made_logins import ensure_reading_logins, role_exists
from strava_pipeline.warehouse.access.rights import close_to_public, grant, owner_of_tables
from strava_pipeline.warehouse.engine import (
    ensure_administrator_url,
    ensure_database_url,
    ensure_owner_url,
    open_engine,
    sql_login,
)
from strava_pipeline.warehouse.locks import Lock, acquire, acquire_for_migration
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.views import create_views

log = get_logger(__name__)

VERSION_SCHEMA = SCHEMA
VERSION_TABLE = "alembic_version"
_SCRIPTS = Path(__file__).parent / "migrations"
# Oldest first, by the names of their files: asking alembic would take 0.3 s or more at each start.
REVISIONS = tuple(sorted(script.name.partition("_")[0] for script in (_SCRIPTS / "versions").glob("[0-9]*_*.py")))
HEAD = REVISIONS[-1]
# A table that somebody holds is waited for so long; meanwhile whoever comes later waits behind. A bridge refuses a
# delivery after 1.5 s, so it notices nothing of it.
LOCK_SECONDS = 1.0
# Then everything is taken back, those who waited go first, and all is tried again, for so long.
BETWEEN_TRIES_SECONDS = 2.0
TRIES_FOR_SECONDS = 60.0


@contextmanager
def open_warehouse(settings: Settings, part: str | None = None) -> Iterator[Engine]:
    """Yield an engine for the tables; an empty database is prepared first, and so is one without rights for our login.

    ``part``: of the installation, as the server shows it; unset: this process. Connections are closed after the block.
    ``WarehouseError`` if the tables are of another version of the program.
    """
    with _open_prepared(settings, part) as engine:
        check_migrated(engine)
        yield engine


@contextmanager
def open_warehouse_of_any_release(settings: Settings) -> Iterator[Engine]:
    """Yield an engine as :func:`open_warehouse`, for tables of later versions, too, whose revisions only added.

    For the bridge, and the login in front of Dagster's UI: they go on, and may start again, while all else is upgraded.
    """
    with _open_prepared(settings, None) as engine:
        check_serves(engine)
        yield engine


@contextmanager
def _open_prepared(settings: Settings, part: str | None) -> Iterator[Engine]:
    engine = open_engine(ensure_database_url(settings), part=part, connections=settings.database_pool_size)
    try:
        if is_empty(engine) or not _may_look(engine):
            prepared = prepare(settings)
            for left in prepared.left:
                log.warning("%s", left)
            if prepared.before not in {"", HEAD}:
                log.warning("the tables were at %s: upgraded to %s", prepared.before, HEAD)
        yield engine
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Prepared:
    """The result of :func:`prepare`: the revision ``before``, or '', and what is ``left`` to an administrator.

    ``left`` has one line for each thing to do.
    """

    before: str
    left: list[str]


def prepare(settings: Settings) -> Prepared:
    """Bring the tables to :data:`HEAD`, and give each login its rights. A second call changes nothing.

    ``WarehouseError`` as in :func:`migrate`, or if the rights cannot be given.
    """
    with _explaining_rights(), _opened(ensure_owner_url(settings)) as owner:
        before = migrate(owner)
    with _explaining_rights(), _opened(ensure_administrator_url(settings)) as administrator:
        try:
            left = ensure_analyst_role(administrator, settings.analyst_role)
        except WarehouseError as error:
            # Only the analysts' access depends on their role.
            left = [str(error)]
        with administrator.begin() as connection:
            # Two processes that grant the same rights at once would fail.
            acquire(connection, Lock.RIGHTS)
            return Prepared(before, left + _give_rights(connection, settings))


@contextmanager
def _explaining_rights() -> Iterator[None]:
    try:
        yield
    except WarehouseError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            raise WarehouseError(
                f"{error}: only their owner may change the tables; set STRAVA_DATABASE_OWNER_URL to the owner's login,"
                " in a new database to a login that may create tables, and run strava-pipeline migrate"
            ) from error
        raise


def _give_rights(connection: Connection, settings: Settings) -> list[str]:
    left = []
    if not settings.is_embedded:
        urls = {Login.SQL: settings.sql_database_url, Login.SQL_AS_ANALYST: settings.analyst_database_url}
        given = [login for login, url in urls.items() if url is not None]
        left = ensure_reading_logins(connection, settings.home, given)
    owner, pipeline = owner_of_tables(connection), ensure_database_url(settings).username or ""
    if pipeline != owner and role_exists(connection, pipeline):
        grant(connection, pipeline, Login.PIPELINE)
    reader = sql_login(settings, Login.SQL)
    if role_exists(connection, reader):
        grant(connection, reader, Login.SQL)
    as_analyst = sql_login(settings, Login.SQL_AS_ANALYST)
    group = settings.analyst_role
    if role_exists(connection, as_analyst) and role_exists(connection, group) and not why_unfit(connection, group):
        left += join_analysts(connection, group, as_analyst)
    return left + close_to_public(connection, {owner, pipeline} - {""})


@contextmanager
def _opened(url: URL) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _may_look(engine: Engine) -> bool:
    """Whether our login has its rights; a process may have died after it made the tables, before it gave the rights."""
    with engine.connect() as connection:
        return bool(
            connection.execute(text("SELECT has_schema_privilege(:ops, 'USAGE')"), {"ops": VERSION_SCHEMA}).scalar()
        )


def migrate(engine: Engine) -> str:
    """Bring the tables to :data:`HEAD` in one transaction; return the revision that they had before, or ''.

    ``WarehouseError`` if a newer program made the tables, because a downgrade would lose data; if they are older than
    the first revision; or if another session locks the tables for longer than a minute.
    """
    with engine.connect() as connection:
        before = stored_revision(connection)
    return before if before == HEAD else _migrate(engine)


def _migrate(engine: Engine) -> str:
    ends_at = time.monotonic() + TRIES_FOR_SECONDS
    while True:
        try:
            return _migrate_at_once(engine)
        except DatabaseUnavailable as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            if time.monotonic() > ends_at:
                raise WarehouseError(
                    "the tables were not changed: somebody reads them in a transaction that stays open, or migrates as"
                    " well; end that one (pg_stat_activity tells whose it is), then run strava-pipeline migrate again"
                ) from error
        time.sleep(BETWEEN_TRIES_SECONDS)


def _migrate_at_once(engine: Engine) -> str:
    with engine.begin() as connection:
        # Only how long it waits for others is limited: an index over years of many athletes takes minutes.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        acquire_for_migration(connection, VERSION_SCHEMA, VERSION_TABLE)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        # Another process may have migrated while this one waited for the lock.
        before = stored_revision(connection)
        if before != HEAD:
            _upgrade(connection, before, HEAD)
            create_views(connection)
        return before


def _upgrade(connection: Connection, before: str, target: str) -> None:
    from alembic import command  # noqa: PLC0415  takes half a second that only this function needs
    from alembic.config import Config  # noqa: PLC0415  see above

    _refuse_unreleased(before)
    if before and before not in REVISIONS:
        raise WarehouseError(
            f"the tables are at revision {before}, which this program (it ends at {HEAD}) does not know: tables are"
            " never taken back; install the version that made them, or restore a backup from before"
        )
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def _refuse_unreleased(revision: str) -> None:
    if "" < revision < REVISIONS[0]:
        raise WarehouseError(
            f"the tables are at revision {revision}, from before the first release: this program begins at"
            f" {REVISIONS[0]} and has changed nothing in them; start with an empty database (set another"
            " STRAVA_DATABASE_URL, or move the folder postgres out of STRAVA_HOME) and connect the athletes again,"
            " which imports their history; or keep the data as docs/upgrading.md tells"
        )


def check_migrated(engine: Engine) -> None:
    """Raise ``WarehouseError`` unless the tables are at :data:`HEAD`."""
    with engine.connect() as connection:
        revision = stored_revision(connection)
    if not revision:
        raise WarehouseError("the database has no tables yet: run strava-pipeline migrate")
    _refuse_unreleased(revision)
    if is_later(revision):
        raise WarehouseError(
            f"a later version has upgraded the tables to revision {revision}, and this program ends at {HEAD}: install"
            " that version here, too"
        )
    if revision != HEAD:
        raise WarehouseError(
            f"the tables are at revision {revision}, this program needs {HEAD}:"
            " run strava-pipeline migrate with the newest installed version"
        )


def check_serves(engine: Engine) -> None:
    """Raise ``WarehouseError`` unless the tables have all that a bridge of this version reads and writes."""
    with engine.connect() as connection:
        revision = stored_revision(connection)
    if not is_later(revision):
        check_migrated(engine)


def is_later(revision: str) -> bool:
    """Whether a later version has made this revision, and what ours reads and writes of ``ops`` is still there."""
    return re.fullmatch(rf"{HEAD[0]}[0-9]{{3}}", revision) is not None and revision > HEAD


def is_empty(engine: Engine) -> bool:
    """Whether nothing of ours has been created in this database yet."""
    with engine.connect() as connection:
        return not inspect(connection).has_table(VERSION_TABLE, schema=VERSION_SCHEMA)


def stored_revision(connection: Connection) -> str:
    """Return the revision of the tables; '' if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE, schema=VERSION_SCHEMA):
        return ""
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_SCHEMA}.{VERSION_TABLE}")).scalar()  # noqa: S608  constants
    return str(found or "")
