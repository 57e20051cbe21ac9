"""The analysts' role: it reads schema ``strava`` and nothing else."""

from __future__ import annotations

from contextlib import suppress

from psycopg.errors import DuplicateObject, InsufficientPrivilege, UniqueViolation
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import Connection, Engine, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.locks import Lock, take
from strava_pipeline.warehouse.tables import SCHEMA


def ensure_analyst_role(engine: Engine, role: str) -> None:
    """Create the role if it is not there, and let it read every table of schema ``strava``, future ones included.

    It is a group that cannot log in. ``WarehouseError`` in one line when the database's user may not create it.
    """
    with engine.begin() as connection:
        take(connection, Lock.ANALYSTS)
        if not connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first():
            if not _may_create_roles(connection):
                raise WarehouseError(
                    f"role {role} for analysts is not there, and this database user may not create it: run"
                    f' CREATE ROLE "{role}" NOLOGIN as an administrator, then strava-pipeline migrate again'
                )
            # Roles are the server's: somebody else may make it just now for another database.
            with suppress(DuplicateObject, UniqueViolation), connection.begin_nested():
                _run(connection, SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
        _grant(connection, role)


def can_read(connection: Connection, role: str) -> bool:
    """Whether the role is there and may use schema ``strava`` of this database."""
    found = connection.execute(
        text("SELECT has_schema_privilege(rolname, :schema, 'USAGE') FROM pg_roles WHERE rolname = :role"),
        {"schema": SCHEMA, "role": role},
    )
    return bool(found.scalar())


def become_analyst(connection: Connection, role: str) -> None:
    """For the rest of the transaction, be allowed what an analyst is allowed; ``WarehouseError`` if that cannot be."""
    try:
        _run(connection, SQL("SET LOCAL ROLE {}").format(Identifier(role)))
    except InsufficientPrivilege:
        raise WarehouseError(
            f'this database user may not act as role {role}: run GRANT "{role}" TO that user as an administrator'
        ) from None


def _may_create_roles(connection: Connection) -> bool:
    rights = text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    return bool(connection.execute(rights).scalar_one())


def _grant(connection: Connection, role: str) -> None:
    schema, group = Identifier(SCHEMA), Identifier(role)
    _run(connection, SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, group))
    _run(connection, SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, group))
    _run(connection, SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO {}").format(schema, group))
    try:
        with connection.begin_nested():
            _run(connection, SQL("SET LOCAL ROLE {}").format(group))
            _run(connection, SQL("RESET ROLE"))
    except InsufficientPrivilege:
        # Who created a role may manage it, but acts as it only after becoming a member.
        with suppress(InsufficientPrivilege), connection.begin_nested():
            _run(connection, SQL("GRANT {} TO CURRENT_USER").format(group))


def _run(connection: Connection, statement: SQL | Composed) -> None:
    with driver_of(connection).cursor() as cursor:
        cursor.execute(statement)
