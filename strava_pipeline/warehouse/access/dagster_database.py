"""Dagster's own database: created if it does not exist, with the rights that Dagster's login needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from psycopg import Cursor, Error
from psycopg.errors import DuplicateDatabase, InsufficientPrivilege, UniqueViolation
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import URL, Connection, text

from strava_pipeline.errors import DatabaseUnavailable, WarehouseError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.addresses import parse_url, without_password
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import (
    driver_errors,
    ensure_administrator_url,
    ensure_dagster_url,
    is_refusal,
    open_engine,
)

# Dagster creates its tables itself, in the first schema of the search path, which is never a system schema. Where the
# tables exist, Dagster's login needs no right to create more.
_MAY = """
SELECT w.schema,
    (coalesce(bool_or(has_schema_privilege(n.oid, 'CREATE')), false) OR count(c.oid) > 0)
        AND coalesce(bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')), true)
        AND coalesce(w.schema = current_schema(), false) AS enough
FROM (
    SELECT CASE WHEN current_schema() ~ '^(pg_|information_schema$)' THEN 'public'
        ELSE coalesce(current_schema(), 'public') END AS schema
) AS w
LEFT JOIN pg_namespace AS n ON n.nspname = w.schema
LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
GROUP BY w.schema
"""
_IS_ITS_OWN = "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = :name"
_MAY_ENTER = """
SELECT coalesce(bool_and(has_database_privilege(r.oid, d.oid, 'CONNECT')), true)
FROM pg_database AS d, pg_roles AS r WHERE datname = :name AND rolname = :login
"""


@dataclass(frozen=True)
class _Found:
    """Whether Dagster's login may do ``enough`` in ``schema``; ``reason``: why it cannot connect, if so."""

    enough: bool
    schema: str = "public"
    reason: str = ""


def ensure_dagster_database(settings: Settings) -> None:
    """Make sure that there is a database in which Dagster's login may create its tables.

    A missing database is created: by the administrator's login if it is on the same server as the warehouse, else by
    Dagster's login. It then belongs to Dagster's login, or to the login that created it, and only these two may use it.
    In an existing database, its owner gives Dagster's login the rights that it may give. ``WarehouseError`` says in one
    line what an administrator has to run; ``DatabaseUnavailable`` without a server.
    """
    storage = parse_url(ensure_dagster_url(settings), "DAGSTER_POSTGRES_URL")
    found = _look(storage)
    if found.enough:
        return
    try:
        may_enter = _make(_maker(settings, storage), storage, found.schema)
    except DatabaseUnavailable as error:
        # The login that would create the database or give the rights cannot connect either.
        raise WarehouseError(f"{found.reason or error}; if it is not there yet, {_to_create(storage)}") from None
    found = _look(storage)
    if found.reason and may_enter:
        raise WarehouseError(found.reason)
    if not found.enough:
        raise _too_few_rights(storage, found.schema)


class NoDagsterDatabase(WarehouseError):
    """Dagster's database is not there, or its login may not enter."""


def check_dagster_database(settings: Settings) -> None:
    """Raise ``WarehouseError`` if Dagster's login cannot work in its database; creates nothing.

    ``NoDagsterDatabase`` if the login cannot even enter, ``DatabaseUnavailable`` without a server.
    """
    storage = parse_url(ensure_dagster_url(settings), "DAGSTER_POSTGRES_URL")
    found = _look(storage)
    if found.reason:
        raise NoDagsterDatabase(
            f"{found.reason}; if it is not there yet, strava-pipeline up or migrate makes it, or {_to_create(storage)}"
        )
    if not found.enough:
        raise _too_few_rights(storage, found.schema)


def _look(storage: URL) -> _Found:
    try:
        with _connected(storage) as connection:
            schema, enough = connection.execute(text(_MAY)).one()
            return _Found(enough, schema)
    except DatabaseUnavailable as error:
        if is_refusal(error.__cause__):
            return _Found(enough=False, reason=str(error))
        raise


def _too_few_rights(storage: URL, schema: str) -> WarehouseError:
    return WarehouseError(
        f"Dagster's login may not make its tables in {without_password(storage)}:"
        " as an administrator, in that database, run "
        + "; ".join(statement.as_string() for statement in _rights(storage, schema))
    )


def _maker(settings: Settings, storage: URL) -> URL:
    if settings.dagster_postgres_url is None:
        return ensure_administrator_url(settings)
    if not settings.is_embedded and _place(ensure_administrator_url(settings)) == _place(storage):
        return ensure_administrator_url(settings)
    return storage.set(database="postgres")


def _place(url: URL) -> tuple[object, ...]:
    return url.host, url.port, url.query.get("host"), url.query.get("port")


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    """A connection on which each statement is its own transaction."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        engine.dispose()


def _make(maker: URL, storage: URL, schema: str) -> bool:
    """Create the database unless it exists, and give Dagster's login its rights if the maker owns the database.

    Returns whether Dagster's login may connect.
    """
    whose = {"name": storage.database, "login": storage.username}
    with _connected(maker) as connection:
        if connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), whose).first() is None:
            _create(connection, storage)
        if storage.username != maker.username and connection.execute(text(_IS_ITS_OWN), whose).scalar_one():
            with _connected(maker.set(database=storage.database)) as inside:
                for statement in _rights(storage, schema):
                    # The caller looks again afterwards, and reports missing rights.
                    with suppress(InsufficientPrivilege), driver_errors(inside):
                        driver_of(inside).execute(statement)
        return bool(connection.execute(text(_MAY_ENTER), whose).scalar_one())


def _create(connection: Connection, storage: URL) -> None:
    driver, name = driver_of(connection), Identifier(str(storage.database))
    # A database is created outside of any transaction: a plain cursor sends no settings ahead to a pooler.
    plain = Cursor(driver)
    try:
        try:
            plain.execute(_creating(storage))
        except InsufficientPrivilege:
            # A login may be allowed to create databases, but not for another owner.
            plain.execute(SQL("CREATE DATABASE {}").format(name))
        driver.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    except (DuplicateDatabase, UniqueViolation):
        return  # another process has created the database
    except Error as error:
        reason = str(error).strip().splitlines()[0]
        raise WarehouseError(
            f"database {storage.database} cannot be created ({reason}): {_to_create(storage)}"
        ) from None


def _creating(storage: URL) -> Composed:
    return SQL("CREATE DATABASE {} OWNER {}").format(
        Identifier(str(storage.database)), Identifier(storage.username or "")
    )


def _to_create(storage: URL) -> str:
    return (
        f"run {_creating(storage).as_string()} as an administrator, or strava-pipeline migrate with"
        " STRAVA_DATABASE_OWNER_URL naming a login that may create databases"
    )


def _rights(storage: URL, schema: str) -> list[Composed]:
    login, where = Identifier(storage.username or ""), Identifier(schema)
    return [
        SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(Identifier(str(storage.database)), login),
        SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(where, login),
        SQL("GRANT ALL ON ALL TABLES IN SCHEMA {} TO {}").format(where, login),
        SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA {} TO {}").format(where, login),
    ]
