"""Who may what in our database: the rights of each login, and what nobody else may.

``migrate`` grants them anew each time. Tables that a later version adds come with them by default privileges, but for
those of schema ``ops`` and :attr:`Login.SQL`, which is granted column by column.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from psycopg.errors import InsufficientPrivilege, InternalError_
from psycopg.sql import SQL, Composed, Identifier, Literal
from sqlalchemy import Connection, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.schema import ops_tables
from strava_pipeline.warehouse.schema.tables import SCHEMA

OPS = ops_tables.SCHEMA
VERSION_TABLE = "alembic_version"
READ = frozenset({"SELECT"})
WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
# What each login may do with the tables of each schema; the owner may do anything with them.
TABLES: Mapping[Login, Mapping[str, frozenset[str]]] = {
    Login.PIPELINE: {SCHEMA: WRITE, OPS: WRITE},
    # Without the columns that HIDDEN names.
    Login.SQL: {SCHEMA: READ, OPS: READ},
    # As a member of the analysts' role, which these are granted to.
    Login.SQL_AS_ANALYST: {SCHEMA: READ},
    Login.DAGSTER: {},
}
SEQUENCES: Mapping[Login, frozenset[str]] = {Login.PIPELINE: frozenset({"USAGE", "SELECT"})}
DATABASE: Mapping[Login, frozenset[str]] = {
    Login.PIPELINE: frozenset({"CONNECT", "TEMPORARY"}),
    Login.SQL: frozenset({"CONNECT"}),
    Login.SQL_AS_ANALYST: frozenset({"CONNECT"}),
}
# Columns of schema ops that open doors: envelopes of tokens, and what is compared with a secret of somebody's.
HIDDEN = re.compile(r".*_token|.*_hash|.*secret.*|.*proof|check_value|.*(nonce|salt).*")
# By these anybody who may log in could halt the pipeline or fill the disk: locks that fill everybody's table of locks,
# large objects, records in the log of changes, files of snapshots, numbers of transactions, wake-up calls.
CLOSED = (
    r"^(pg_(try_)?advisory_(xact_)?lock(_shared)?|pg_advisory_unlock(_shared)?|lo_.*|loread|lowrite|pg_notify"
    r"|pg_logical_emit_message|pg_export_snapshot|txid_current|pg_current_xact_id)$"
)
_OPEN_FUNCTIONS = """
SELECT count(*) FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ :closed AND EXISTS (
    SELECT 1 FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
"""
_OPEN_LANGUAGE = """
SELECT count(*) FROM pg_language, aclexplode(coalesce(lanacl, acldefault('l', lanowner)))
WHERE lanname = 'plpgsql' AND grantee = 0
"""
_FOREIGN_TABLES = f"""
SELECT count(*) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
    AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', '{SCHEMA}', '{OPS}')
"""  # noqa: S608  constants
RESERVING_VERSION = 16
_RESERVED = """
SELECT current_setting('server_version_num')::int / 10000, quote_ident(current_user),
    coalesce(current_setting('reserved_connections', true), '0')::int > 0,
    EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'pg_use_reserved_connections' AND pg_has_role(oid, 'USAGE'))
"""
_PUBLIC_RIGHTS = """
SELECT count(*) FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
WHERE datname = current_database() AND grantee = 0
"""


def grant(connection: Connection, role: str, login: Login) -> None:
    """Give a role what ``login`` may; the connection is the owner's or an administrator's."""
    who, owner = Identifier(role), Identifier(owner_of_tables(connection))
    database = Identifier(connection.execute(text("SELECT current_database()")).scalar_one())
    _run(connection, SQL("GRANT {} ON DATABASE {} TO {}").format(_listed(DATABASE[login]), database, who))
    for schema, rights in TABLES[login].items():
        where = Identifier(schema)
        _run(connection, SQL("GRANT USAGE ON SCHEMA {} TO {}").format(where, who))
        if login is Login.SQL and schema == OPS:
            _grant_columns(connection, who)
            continue
        _run(connection, SQL("GRANT {} ON ALL TABLES IN SCHEMA {} TO {}").format(_listed(rights), where, who))
        later = SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} ON {} TO {}")
        _run(connection, later.format(owner, where, _listed(rights), SQL("TABLES"), who))
        if sequences := SEQUENCES.get(login):
            all_there = SQL("GRANT {} ON ALL SEQUENCES IN SCHEMA {} TO {}")
            _run(connection, all_there.format(_listed(sequences), where, who))
            _run(connection, later.format(owner, where, _listed(sequences), SQL("SEQUENCES"), who))
    if login is Login.PIPELINE:
        version = Identifier(OPS, VERSION_TABLE)
        _run(connection, SQL("REVOKE {} ON {} FROM {}").format(_listed(WRITE - READ), version, who))


def _grant_columns(connection: Connection, who: Identifier) -> None:
    columns = text(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = :schema GROUP BY table_name"
    )
    for table, names in connection.execute(columns, {"schema": OPS}).all():
        _run(connection, SQL("REVOKE ALL ON {} FROM {}").format(Identifier(OPS, table), who))
        shown = SQL(", ").join(Identifier(name) for name in names if not is_hidden(name))
        if any(not is_hidden(name) for name in names):
            _run(connection, SQL("GRANT SELECT ({}) ON {} TO {}").format(shown, Identifier(OPS, table), who))


def is_hidden(column: str) -> bool:
    """Whether a column of schema ``ops`` is kept from ``sql``."""
    return HIDDEN.fullmatch(column) is not None


def owner_of_tables(connection: Connection) -> str:
    """The role that owns our schemas."""
    found = connection.execute(
        text("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = :schema"), {"schema": SCHEMA}
    )
    return str(found.scalar_one())


def close_to_public(connection: Connection, pipeline: Collection[str]) -> list[str]:
    """Take from PUBLIC what it need not have in this database; the roles of ``pipeline`` keep it.

    Left alone is a database that has tables of others as well. Returns, one line each, what an administrator has yet
    to do because this login may not.
    """
    if connection.execute(text(_FOREIGN_TABLES)).scalar_one():
        return [
            "this database has tables of others as well: what PUBLIC may in it is left as it is; see docs/queries.md"
        ]
    left = []
    database = Identifier(connection.execute(text("SELECT current_database()")).scalar_one())
    closing = SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database)
    _run(connection, closing)
    if connection.execute(text(_PUBLIC_RIGHTS)).scalar_one():
        left.append(f"everybody may log in and make temporary tables: run {_shown(connection, closing)} as its owner")
    open_functions = connection.execute(text(_OPEN_FUNCTIONS), {"closed": CLOSED}).scalar_one()
    if open_functions or connection.execute(text(_OPEN_LANGUAGE)).scalar_one():
        functions = _closing_functions(connection, pipeline)
        if is_superuser(connection):
            _run(connection, functions)
        else:
            left.append(
                "analysts may take locks, make large objects and run loops: in this database, as a superuser, run"
                f" {_shown(connection, functions)}"
            )
    return left


def superfluous_rights(connection: Connection) -> list[str]:
    """What this connection's login may beyond reading and writing our tables, in Postgres's words; empty: nothing."""
    found = connection.execute(
        text(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        )
    ).one()
    names = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    return [name for name, has in zip(names, found, strict=True) if has]


def what_analysts_may_take(connection: Connection) -> str:
    """Whether analysts may leave this login no connection, and what helps, in one line; '' if they may not."""
    return _to_reserve(*connection.execute(text(_RESERVED)).one())


def _to_reserve(version: int, login: str, reserved: bool, granted: bool) -> str:
    if version < RESERVING_VERSION:
        return (
            f"analysts may take every connection: Postgres {version} can reserve none for the pipeline, as"
            f" {RESERVING_VERSION} and later do; keep their CONNECTION LIMITs together well below max_connections"
        )
    missing = [] if reserved else ["set reserved_connections in postgresql.conf and restart the server"]
    if not granted:
        missing.append(f"run GRANT pg_use_reserved_connections TO {login} as an administrator")
    return f"analysts may take every connection: {', and '.join(missing)}" if missing else ""


def is_superuser(connection: Connection) -> bool:
    """Whether this connection's login may do everything."""
    return bool(connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar_one())


def _closing_functions(connection: Connection, pipeline: Iterable[str]) -> Composed:
    """One statement, fit for a message as well."""
    keeping = SQL(", ").join(Identifier(role) for role in sorted(pipeline)).as_string(driver_of(connection))
    change = f"REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC; GRANT EXECUTE ON FUNCTION %s TO {keeping.replace('%', '%%')}"
    return SQL(
        "DO $do$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ {} LOOP EXECUTE format({}, f, f); END LOOP;"
        " REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; END $do$"
    ).format(Literal(CLOSED), Literal(change))


def _listed(rights: Iterable[str]) -> Composed:
    return SQL(", ").join(SQL(right) for right in sorted(rights))


def _shown(connection: Connection, statement: Composed) -> str:
    return statement.as_string(driver_of(connection))


def _run(connection: Connection, statement: Composed) -> None:
    try:
        with driver_of(connection).cursor() as cursor:
            cursor.execute(statement)
    except InsufficientPrivilege as error:
        raise WarehouseError(
            f"this database user may not give rights ({str(error).splitlines()[0]}): set"
            " STRAVA_DATABASE_OWNER_URL to the login that owns the tables"
        ) from None
    except InternalError_ as error:
        # "tuple concurrently updated": roles are the whole server's, our lock is this database's.
        raise WarehouseError(
            f"rights were not given ({str(error).splitlines()[0]}): somebody else gives some at this time, perhaps to"
            " another database; run strava-pipeline migrate again"
        ) from None
