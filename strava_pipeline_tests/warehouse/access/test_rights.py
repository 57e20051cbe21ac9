"""Who may what: each login has what its part needs, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, make_url, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import SUPERUSER, Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.access.rights import (
    CLOSED,
    READ,
    SEQUENCES,
    TABLES,
    VERSION_TABLE,
    WRITE,
    _to_reserve,
    close_to_public,
    grant,
    is_hidden,
)
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema import history_tables, notification_tables, tables  # noqa: F401  each registers its tables
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA as OPS
from strava_pipeline_tests.conftest import ANALYSTS

GUIDE = Path(__file__).parents[3] / "docs" / "queries.md"
ANY = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
RESERVING = "pg_use_reserved_connections"
OTHERS = [login for login in Login if login is not Login.OWNER]


@pytest.fixture
def behind(admin_engine: Engine) -> Iterator[Connection]:
    with admin_engine.begin() as connection:
        yield connection


def relations(connection: Connection, kinds: str = "rvmp") -> list[tuple[str, str]]:
    found = connection.execute(
        text(
            "SELECT nspname, relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
            " WHERE nspname IN ('strava', 'ops') AND strpos(:kinds, relkind::text) > 0 ORDER BY 1, 2"
        ),
        {"kinds": kinds},
    )
    return [(schema, name) for schema, name in found]


@pytest.mark.parametrize("login", list(Login))
def test_no_login_may_more_than_its_rights_say(behind: Connection, login: Login) -> None:
    attributes = text(
        "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = :login"
    )
    assert tuple(behind.execute(attributes, {"login": login}).one()) == (True, *(False,) * 5)
    groups = behind.execute(
        text("SELECT rolname FROM pg_roles WHERE pg_has_role(:login, oid, 'MEMBER') AND rolname <> :login"),
        {"login": login},
    ).scalars()
    # Of the database it owns, by Postgres itself.
    assert set(groups) - {"pg_database_owner"} == {"strava_analyst" if login is Login.SQL_AS_ANALYST else RESERVING}


@pytest.mark.parametrize("login", OTHERS)
def test_each_login_has_the_rights_of_its_part_on_every_table(behind: Connection, login: Login) -> None:
    checked = text("SELECT has_table_privilege(:login, :name, :right)")
    for schema, name in relations(behind):
        wanted = TABLES[login].get(schema, frozenset())
        if schema == OPS and (login is Login.SQL or name == VERSION_TABLE):
            wanted &= {"SELECT"} if name == VERSION_TABLE else set()
        if login is Login.SQL and schema == OPS:
            continue  # column by column: see below
        values = {"login": login, "name": f"{schema}.{name}"}
        has = {right for right in ANY if behind.execute(checked, {**values, "right": right}).scalar_one()}
        assert has == wanted, f"{login} on {schema}.{name}"


def test_sql_reads_every_column_of_schema_ops_but_those_that_open_doors(behind: Connection) -> None:
    columns = behind.execute(
        text(
            "SELECT table_name, column_name,"
            " has_column_privilege(:login, format('ops.%I', table_name), column_name, 'SELECT'),"
            " has_column_privilege(:login, format('ops.%I', table_name), column_name, 'INSERT, UPDATE, REFERENCES')"
            " FROM information_schema.columns WHERE table_schema = 'ops'"
        ),
        {"login": Login.SQL},
    ).all()
    assert {f"{table}.{column}" for table, column, reads, _ in columns if not reads} == {
        f"{table}.{column}" for table, column, *_ in columns if is_hidden(column)
    }
    assert not any(writes for *_, writes in columns)
    hidden = {f"{table}.{column}" for table, column, reads, _ in columns if not reads}
    assert {"users.strava_access_token", "token_journal.strava_refresh_token", "oauth_states.state_hash"} <= hidden
    assert {"operator_sessions.secret_hash", "operator_sessions.proof", "key_checks.check_value"} <= hidden


def test_every_column_that_is_said_to_hold_a_secret_is_hidden() -> None:
    opening = re.compile(r"envelope,|sha256 of|digest of a secret|proof|nothing of the key")
    declared = [column for table in tables.metadata.tables.values() if table.schema == OPS for column in table.columns]
    told = [column for column in declared if opening.search(str(column.comment))]
    assert len(told) >= 8
    assert [str(column) for column in told if not is_hidden(column.name)] == []


# Every right on our schemas, tables, views, sequences and columns that was given to anybody but their owner.
GIVEN = """
WITH ours AS (SELECT oid, nspname, nspacl, nspowner FROM pg_namespace WHERE nspname IN ('strava', 'ops')),
relations AS (SELECT c.* FROM pg_class AS c JOIN ours ON ours.oid = relnamespace),
given AS (
    SELECT nspname AS thing, nspowner AS owner, aclexplode(nspacl) AS acl FROM ours
    UNION ALL
    SELECT nspname || '.' || relname, relowner, aclexplode(relacl) FROM relations JOIN ours ON ours.oid = relnamespace
    UNION ALL
    SELECT concat_ws('.', nspname, relname, attname), relowner, aclexplode(attacl)
    FROM relations JOIN ours ON ours.oid = relnamespace JOIN pg_attribute ON attrelid = relations.oid
)
SELECT CASE (acl).grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid((acl).grantee) END, thing, (acl).privilege_type
FROM given WHERE (acl).grantee <> owner
"""


def declared_rights(behind: Connection) -> set[tuple[str, str, str]]:
    """Who was to be given which right on what of the declared tables, the views and their schemas."""
    declared = tables.metadata.tables.values()
    sequences = {f"{schema}.{name}" for schema, name in relations(behind, "S")}
    wanted = set()
    for login, by_schema in TABLES.items():
        who = ANALYSTS if login is Login.SQL_AS_ANALYST else login.value
        for schema, rights in by_schema.items():
            wanted.add((who, schema, "USAGE"))
            named = {str(table) for table in declared if table.schema == schema}
            named |= {f"{schema}.{name}" for _, name in relations(behind, "v") if schema == tables.SCHEMA}
            if schema == OPS and login is Login.SQL:
                columns = [column for table in declared if table.schema == OPS for column in table.columns]
                named = {f"{column.table}.{column.name}" for column in columns if not is_hidden(column.name)}
                named.add(f"{OPS}.{VERSION_TABLE}.version_num")
            elif schema == OPS:
                wanted.add((who, f"{OPS}.{VERSION_TABLE}", "SELECT"))
            wanted |= {(who, name, right) for name in named for right in rights}
        wanted |= {(who, name, right) for name in sequences for right in SEQUENCES.get(login, ())}
    return wanted


def test_what_was_granted_to_anybody_is_what_is_declared(behind: Connection) -> None:
    given = {tuple(row) for row in behind.execute(text(GIVEN)).all()}
    wanted = declared_rights(behind)
    assert given - wanted == set()
    assert wanted - given == set()
    assert (Login.SQL, "ops.users.email", "SELECT") in given
    assert (Login.PIPELINE, "ops.webhook_claims", "USAGE") in given


@pytest.mark.parametrize("login", [*OTHERS, "public"])
def test_only_the_owner_creates_anything(behind: Connection, login: str) -> None:
    schemas = text(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_t' AND has_schema_privilege(:login, oid, 'CREATE')"
    )
    assert list(behind.execute(schemas, {"login": login}).scalars()) == []
    assert not behind.execute(
        text("SELECT has_database_privilege(:login, current_database(), 'CREATE')"), {"login": login}
    ).scalar()


def test_everything_of_ours_belongs_to_the_owner_and_nothing_runs_with_its_rights(behind: Connection) -> None:
    owners = text(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
        " WHERE nspname IN ('strava', 'ops')"
    )
    assert list(behind.execute(owners).scalars()) == [Login.OWNER]
    borrowed = text("SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef")
    assert list(behind.execute(borrowed).scalars()) == []


def test_databases_are_open_to_those_who_work_there(server: Server, behind: Connection) -> None:
    ours = behind.execute(text("SELECT current_database()")).scalar_one()
    may = text("SELECT has_database_privilege(:login, :name, :right)")
    expected = {
        (ours, "CONNECT"): {*Login} - {Login.DAGSTER},
        (ours, "TEMPORARY"): {Login.OWNER, Login.PIPELINE},
        ("strava_dagster", "CONNECT"): {Login.DAGSTER},
        ("strava_dagster", "TEMPORARY"): {Login.DAGSTER},
        ("postgres", "CONNECT"): set(),
        ("template1", "CONNECT"): set(),
    }
    for (name, right), logins in expected.items():
        for login in [*Login, "public"]:
            has = behind.execute(may, {"login": login, "name": name, "right": right}).scalar_one()
            assert has == (login in logins), f"{login}: {right} on {name}"


def test_functions_that_could_halt_the_pipeline_are_closed_to_all_others(behind: Connection) -> None:
    may = text(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ :closed"
        " AND has_function_privilege(:login, oid, 'EXECUTE')"
    )
    for login in ("public", Login.SQL, Login.SQL_AS_ANALYST):
        assert list(behind.execute(may, {"login": login, "closed": CLOSED}).scalars()) == []
    assert {"pg_advisory_xact_lock", "lo_create", "lo_from_bytea", "pg_logical_emit_message"} <= set(
        behind.execute(may, {"login": SUPERUSER, "closed": CLOSED}).scalars()
    )
    assert "pg_advisory_xact_lock" in set(behind.execute(may, {"login": Login.PIPELINE, "closed": CLOSED}).scalars())


def test_every_function_that_locks_or_stores_by_itself_is_among_those(behind: Connection) -> None:
    """A later Postgres may bring others."""
    kinds = text(
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname !~ :closed"
        " AND proname ~ 'advisory|^lo_|^lo[a-z]*(read|write)$|emit_message|notify|export_snapshot'"
        " AND has_function_privilege('public', oid, 'EXECUTE')"
    )
    # Sent by pools that tidy up after a session; it gives back, and takes nothing.
    assert set(behind.execute(kinds, {"closed": CLOSED}).scalars()) <= {"pg_advisory_unlock_all"}


def test_a_table_made_later_is_the_pipelines_to_write_and_hidden_from_sql_until_granted(
    owner_engine: Engine, behind: Connection
) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE ops.later (id bigserial, some_token text, note text)")
    read = text("SELECT has_column_privilege(:login, 'ops.later', :column, 'SELECT')")
    write = text("SELECT has_table_privilege(:login, 'ops.later', 'INSERT')")
    assert behind.execute(write, {"login": Login.PIPELINE}).scalar_one()
    assert not behind.execute(read, {"login": Login.SQL, "column": "note"}).scalar_one()
    grant(behind, Login.SQL, Login.SQL)
    assert behind.execute(read, {"login": Login.SQL, "column": "note"}).scalar_one()
    assert not behind.execute(read, {"login": Login.SQL, "column": "some_token"}).scalar_one()


def test_a_database_with_tables_of_others_is_left_as_open_as_it_is(owner_engine: Engine, behind: Connection) -> None:
    driver_of(behind).execute("GRANT TEMPORARY ON DATABASE " + behind.engine.url.database + " TO PUBLIC")  # type: ignore[operator]  # it has one
    driver_of(behind).execute("CREATE TABLE public.theirs (a int)")
    (left,) = close_to_public(behind, [Login.PIPELINE])
    assert "has tables of others as well, so the rights of PUBLIC are not changed" in left
    assert behind.execute(text("SELECT has_database_privilege('public', current_database(), 'TEMPORARY')")).scalar()


def test_an_owner_who_may_not_close_functions_is_told_what_an_administrator_runs(
    owner_engine: Engine, admin_engine: Engine
) -> None:
    with admin_engine.begin() as connection:
        connection.exec_driver_sql("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC")
    with owner_engine.begin() as connection:
        (left,) = close_to_public(connection, [Login.OWNER, Login.PIPELINE])
    assert "\n" not in left
    statement = left.partition("as a superuser, run ")[2]
    with admin_engine.begin() as connection:
        driver_of(connection).execute(statement.encode())
    with owner_engine.begin() as connection:
        assert close_to_public(connection, [Login.OWNER, Login.PIPELINE]) == []


@pytest.mark.parametrize("login", [Login.PIPELINE, Login.SQL, Login.SQL_AS_ANALYST])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE strava.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "TRUNCATE strava.activities",
        "DROP TABLE strava.activities",
        "ALTER TABLE ops.users ADD COLUMN mine int",
        "COPY strava.activities TO PROGRAM 'cat'",
        "COPY strava.activities FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT pg_reload_conf()",
        "SET ROLE strava_owner",
        "SET SESSION AUTHORIZATION postgres",
        "UPDATE ops.alembic_version SET version_num = '0'",
        "TABLE pg_authid",
    ],
)
def test_neither_the_pipeline_nor_readers_do_what_owners_and_superusers_do(
    server: Server, database_name: str, login: Login, statement: str
) -> None:
    engine = open_engine(make_url(server.url(database_name, login)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        with pytest.raises(WarehouseError, match=r"permission denied|must be (owner|superuser)"):
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_logins_of_the_pipeline_look_names_up_where_nobody_else_creates_any(server: Server, database_name: str) -> None:
    for login, expected in ((Login.OWNER, "pg_catalog"), (Login.PIPELINE, "pg_catalog"), (Login.SQL, "pg_catalog")):
        engine = open_engine(make_url(server.url(database_name, login)))
        with engine.connect() as connection:
            assert connection.execute(text("SHOW search_path")).scalar_one() == expected
        engine.dispose()


def test_the_guide_tells_the_same_of_each_login() -> None:
    rows = [
        line.split("|")[1:-1]
        for line in GUIDE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `strava_")
    ]
    told = {cells[0].strip(" `"): dict(zip(("strava", "ops"), cells[1:3], strict=True)) for cells in rows}
    assert set(told) == set(Login)
    verbs = {WRITE: "reads and writes rows", READ: "reads", frozenset[str](): "-"}
    for login, rights in TABLES.items():
        for schema, cell in told[login].items():
            assert cell.strip().startswith(verbs[rights.get(schema, frozenset())]), f"{login} in {schema}"
            assert ("writes" in cell) == (rights.get(schema) == WRITE)


SETTING = "set reserved_connections in postgresql.conf and restart the server"
GRANT = "run GRANT pg_use_reserved_connections TO me as an administrator"


@pytest.mark.parametrize(
    ("version", "reserved", "granted", "told"),
    [
        (18, True, True, ""),
        (16, False, False, f"analysts may take every connection: {SETTING}, and {GRANT}"),
        (16, True, False, f"analysts may take every connection: {GRANT}"),
        (18, False, True, f"analysts may take every connection: {SETTING}"),
    ],
)
def test_of_what_reserves_connections_exactly_that_is_told_which_is_missing(
    version: int, reserved: bool, granted: bool, told: str
) -> None:
    assert _to_reserve(version, "me", reserved, granted) == told


def test_a_server_that_cannot_reserve_connections_is_not_told_to() -> None:
    """A server before 16 does not start with that setting, and has no such role."""
    told = _to_reserve(15, "me", reserved=False, granted=False)
    assert told.startswith("analysts may take every connection: Postgres 15 can reserve none")
    assert "reserved_connections" not in told
