"""The rights of each login in our database, and the rights that are taken from everybody else.

``migrate`` grants them anew each time. Tables that a later version adds get them by default privileges, except those of
schema ``ops`` for :attr:`Login.SQL`, whose rights are granted column by column.
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
from strava_pipeline.warehouse.engine import driver_errors
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA as OPS
from strava_pipeline.warehouse.schema.tables import SCHEMA

VERSION_TABLE = "alembic_version"
READ = frozenset({"SELECT"})
WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
# Each login's rights on the tables of each schema; the owner has all rights.
TABLES: Mapping[Login, Mapping[str, frozenset[str]]] = {
    Login.PIPELINE: {SCHEMA: WRITE, OPS: WRITE},
    # Without the columns that HIDDEN matches.
    Login.SQL: {SCHEMA: READ, OPS: READ},
    # Granted to the analysts' role, of which this login is a member.
    Login.SQL_AS_ANALYST: {SCHEMA: READ},
    Login.DAGSTER: {},
}
SEQUENCES: Mapping[Login, frozenset[str]] = {Login.PIPELINE: frozenset({"USAGE", "SELECT"})}
DATABASE: Mapping[Login, frozenset[str]] = {
    Login.PIPELINE: frozenset({"CONNECT", "TEMPORARY"}),
    Login.SQL: frozenset({"CONNECT"}),
    Login.SQL_AS_ANALYST: frozenset({"CONNECT"}),
}
# Columns of schema ops that give access: envelopes of tokens, and values that are compared with somebody's secret.
HIDDEN = re.compile(r".*_token|.*_hash|.*secret.*|.*proof|check_value|.*(nonce|salt).*")
# With these functions any login could halt the pipeline or fill the disk: advisory locks (they fill the shared lock
# table), large objects, WAL records, snapshot files, transaction ids, notifications.
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
    """Grant a role the rights of ``login``; the connection is the owner's or an administrator's."""
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
    """Whether a column of schema ``ops`` is hidden from ``sql``."""
    return HIDDEN.fullmatch(column) is not None


def owner_of_tables(connection: Connection) -> str:
    """Return the role that owns our schemas."""
    found = connection.execute(
        text("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = :schema"), {"schema": SCHEMA}
    )
    return str(found.scalar_one())


def may_act_as(connection: Connection, role: str) -> bool:
    """Whether this connection's login has the rights of a role."""
    return bool(connection.execute(text("SELECT pg_has_role(:role, 'USAGE')"), {"role": role}).scalar_one())


def close_to_public(connection: Connection, pipeline: Collection[str]) -> list[str]:
    """Revoke from PUBLIC the rights that it does not need in this database; the roles of ``pipeline`` keep them.

    A database that has tables of others as well is not changed. Returns, one line each, what an administrator has yet
    to do because this login may not.
    """
    if connection.execute(text(_FOREIGN_TABLES)).scalar_one():
        return [
            "this database has tables of others as well, so the rights of PUBLIC are not changed; see docs/queries.md"
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
    """Return the role attributes, such as SUPERUSER, by which this connection's login may do more than it needs."""
    found = connection.execute(
        text(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        )
    ).one()
    names = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    return [name for name, has in zip(names, found, strict=True) if has]


def missing_rights(connection: Connection) -> list[str]:
    """Return our tables that this connection's login may not read or write as the pipeline has to, sorted by name."""
    found = connection.execute(
        text(
            "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p') AND c.relname <> :version AND NOT"
            " (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
            " AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')"
            " AND has_table_privilege(c.oid, 'DELETE')) ORDER BY 1"
        ),
        {"schemas": list(TABLES[Login.PIPELINE]), "version": VERSION_TABLE},
    )
    return list(found.scalars())


def what_analysts_may_take(connection: Connection) -> str:
    """Return, in one line, that analysts can take every connection, and what to do about it; '' if they cannot."""
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
    """Whether this connection's login is a superuser."""
    return bool(connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar_one())


def _closing_functions(connection: Connection, pipeline: Iterable[str]) -> Composed:
    """One statement for all functions, which is also shown in a message."""
    keeping = SQL(", ").join(Identifier(role) for role in sorted(pipeline)).as_string(driver_of(connection))
    change = f"REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC; GRANT EXECUTE ON FUNCTION %s TO {keeping.replace('%', '%%')}"
    return SQL(
        "DO $do$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ {} LOOP EXECUTE format({}, f, f); END LOOP;"
        " REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; GRANT USAGE ON LANGUAGE plpgsql TO {}; END $do$"
    ).format(Literal(CLOSED), Literal(change), SQL(keeping))


def _listed(rights: Iterable[str]) -> Composed:
    return SQL(", ").join(SQL(right) for right in sorted(rights))


def _shown(connection: Connection, statement: Composed) -> str:
    return statement.as_string(driver_of(connection))


def _run(connection: Connection, statement: Composed) -> None:
    try:
        with driver_errors(connection), driver_of(connection).cursor() as cursor:
            cursor.execute(statement)
    except InsufficientPrivilege as error:
        raise WarehouseError(
            f"this database user may not give rights ({str(error).splitlines()[0]}): set"
            " STRAVA_DATABASE_OWNER_URL to the login that owns the tables"
        ) from None
    except InternalError_ as error:
        # "tuple concurrently updated": roles belong to the whole server, our lock only to this database.
        raise WarehouseError(
            f"rights were not given ({str(error).splitlines()[0]}): somebody else gives some at this time, perhaps to"
            " another database; run strava-pipeline migrate again"
        ) from None
