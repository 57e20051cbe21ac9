"""Migrations: from nothing, at once from two processes, and never out of step with the models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, make_url, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse import migrate as migration
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.migrate import (
    HEAD,
    REVISIONS,
    check_migrated,
    check_serves,
    migrate,
    open_warehouse,
    prepare,
)
from strava_pipeline.warehouse.schema import ops_schema, tables
from strava_pipeline.warehouse.schema.declared import all_declared
from strava_pipeline_tests.conftest import EMPTY, new_database, opened
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

SCHEMAS = tuple(sorted({tables.SCHEMA, ops_schema.SCHEMA}))
# Of our tables each constraint, index, column, comment and sequence, and how it is made; but for the order of columns.
FACTS = """
WITH ours AS (
    SELECT c.oid, n.nspname, relname, relkind FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE n.nspname = ANY (:schemas) AND relkind IN ('r', 'p', 'i', 'S') AND relname !~ '^alembic_version'
)
SELECT concat_ws(' ', 'constraint', nspname, relname, conname, pg_get_constraintdef(d.oid))
FROM pg_constraint AS d JOIN ours ON conrelid = ours.oid
UNION ALL
SELECT pg_get_indexdef(oid) FROM ours WHERE relkind = 'i'
UNION ALL
SELECT concat_ws(' ', 'column', nspname, relname, attname, format_type(atttypid, atttypmod), attnotnull,
    attidentity, attgenerated, pg_get_expr(adbin, adrelid))
FROM ours JOIN pg_attribute ON attrelid = ours.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT concat_ws(' ', 'comment', nspname, relname, attname, description)
FROM ours JOIN pg_description ON objoid = ours.oid AND classoid = 'pg_class'::regclass
LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND attnum > 0
UNION ALL
SELECT concat_ws(' ', 'sequence', nspname, relname, seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcycle)
FROM ours JOIN pg_sequence ON seqrelid = ours.oid
"""
# Changes with anything that is made, changed, granted or told of in a database.
FINGERPRINT = " UNION ALL ".join(
    f"SELECT '{catalog}', count(*), sum(xmin::text::bigint) FROM {catalog}"  # noqa: S608  constants
    for catalog in (
        "pg_class", "pg_attribute", "pg_constraint", "pg_namespace", "pg_default_acl", "pg_description", "pg_database",
        "pg_authid", "pg_auth_members", "pg_proc", "ops.alembic_version",
    )
)  # fmt: skip
MIGRATE_FROM_ANOTHER_PROCESS = """
import sys
from sqlalchemy import make_url
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.migrate import check_migrated, migrate
engine = open_engine(make_url(sys.argv[1]))
sys.stdin.read(1)
print(repr(migrate(engine)))
check_migrated(engine)
"""


def test_tables_are_created_from_nothing_and_a_second_time_changes_nothing(empty_database: str) -> None:
    engine = open_engine(make_url(empty_database))
    assert migrate(engine) == ""
    assert migrate(engine) == HEAD
    check_migrated(engine)
    assert set(inspect(engine).get_table_names("strava")) == {
        table.name for table in all_declared().tables.values() if table.schema == "strava"
    }
    engine.dispose()


def test_two_processes_migrate_at_once_and_one_does_the_work(empty_database: str) -> None:
    command = [sys.executable, "-c", MIGRATE_FROM_ANOTHER_PROCESS, empty_database]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("g")
        process.stdin.flush()
    told = [process.communicate(timeout=PATIENCE_SECONDS)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(told) == sorted([repr(""), repr(HEAD)])


def test_the_names_of_the_files_tell_the_chain_of_revisions() -> None:
    chain = list(ScriptDirectory(str(migration._SCRIPTS)).walk_revisions())
    assert [script.revision for script in reversed(chain)] == list(REVISIONS)
    assert [script.down_revision for script in chain] == [*reversed(REVISIONS[:-1]), None]
    assert chain[0].revision == HEAD


def test_no_revision_imports_what_may_change_later() -> None:
    for script in ScriptDirectory(str(migration._SCRIPTS)).walk_revisions():
        assert "strava_pipeline" not in Path(script.path).read_text(encoding="utf-8")


def test_models_and_migrated_database_agree_comments_included(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name in SCHEMAS,
                "include_object": lambda _, name, kind, *__: (kind, name) != ("table", migration.VERSION_TABLE),
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, all_declared()) == []


def facts(connection: Connection) -> set[str]:
    return set(connection.execute(text(FACTS), {"schemas": list(SCHEMAS)}).scalars())


def test_a_migrated_database_is_what_is_declared_to_the_last_check_index_and_comment(
    engine: Engine, empty_database: str
) -> None:
    with opened(empty_database) as declared, declared.begin() as connection:
        for schema in SCHEMAS:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        all_declared().create_all(connection)
        wanted = facts(connection)
    with engine.connect() as connection:
        there = facts(connection)
    assert there - wanted == set()
    assert wanted - there == set()
    for kind in (
        "constraint ops users ck_users_state CHECK",
        "comment ops users email ",
        "sequence ops webhook_claims",
    ):
        assert any(fact.startswith(kind) for fact in there)


def test_every_table_view_and_column_has_a_comment(engine: Engine) -> None:
    undocumented = text(
        """
        SELECT n.nspname || '.' || c.relname || coalesce('.' || a.attname, '') AS thing
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN LATERAL (
            SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT NULL, 0
        ) AS a ON true
        LEFT JOIN pg_description AS d
            ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
        WHERE n.nspname IN ('strava', 'ops') AND c.relkind IN ('r', 'v', 'm', 'p')
          AND c.relname <> 'alembic_version' AND coalesce(d.description, '') = ''
        ORDER BY 1
        """
    )
    with engine.connect() as connection:
        assert list(connection.execute(undocumented).scalars()) == []


def test_points_view_gives_a_row_per_sample(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO strava.activity_streams"
                " (activity_id, athlete_id, point_count, time, heartrate, fetched_at)"
                " VALUES (1, 2, 3, '{0,1,2}', '{100,NULL,102}', now())"
            )
        )
        rows = connection.execute(
            text("SELECT point_index, time, heartrate, watts FROM strava.activity_points ORDER BY point_index")
        )
        assert [tuple(row) for row in rows] == [(0, 0, 100.0, None), (1, 1, None, None), (2, 2, 102.0, None)]


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        (REVISIONS[0], rf"at revision {REVISIONS[0]}, this program needs {HEAD}: .*migrate"),
        ("0999", rf"later version has upgraded the tables to revision 0999, .* ends at {HEAD}: install that version"),
        ("9999", rf"at revision 9999, this program needs {HEAD}: .*migrate"),
    ],
    ids=["earlier", "later", "of another thousand"],
)
def test_another_revision_is_refused_in_one_clear_line(
    engine: Engine, owner_engine: Engine, revision: str, told: str
) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = :revision"), {"revision": revision})
    with pytest.raises(WarehouseError, match=told) as caught:
        check_migrated(engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("revision", "serves"), [(HEAD, True), ("0999", True), (REVISIONS[0], False), ("1000", False)])
def test_a_bridge_takes_tables_to_which_later_revisions_have_added(
    engine: Engine, owner_engine: Engine, revision: str, *, serves: bool
) -> None:
    """A revision that takes something away begins a new thousand."""
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = :revision"), {"revision": revision})
    with nullcontext() if serves else pytest.raises(WarehouseError, match=f"at revision {revision}, this program"):
        check_serves(engine)


def test_an_empty_database_is_refused_by_the_check_and_filled_when_opened(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(make_url(empty_database))
    with pytest.raises(WarehouseError, match="no tables yet: run strava-pipeline migrate"):
        check_migrated(engine)
    engine.dispose()
    monkeypatch.setenv("STRAVA_DATABASE_URL", empty_database)
    with open_warehouse(Settings()) as opened:
        check_migrated(opened)


def test_tables_that_are_upgraded_on_the_way_are_told_from_and_to(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    add_revision: Callable[..., str],
) -> None:
    """As those whose logins had no rights yet."""
    with new_database(server, EMPTY) as name:
        with opened(server.url(name, Login.OWNER)) as owner:
            migrate(owner)
        added = add_revision("CREATE TABLE ops.new (id int)")
        monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(name, Login.PIPELINE))
        monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.set_up_url(name))
        for _ in range(2):
            with open_warehouse(Settings()) as opened_by_us:
                check_migrated(opened_by_us)
    assert caplog.messages.count(f"the tables were at {HEAD}: upgraded to {added}") == 1


def start_and_stop(settings: Settings) -> None:
    with open_warehouse(settings):
        pass


@pytest.mark.parametrize("revision", [f"{number:04}" for number in range(1, 13)])
def test_tables_from_before_the_first_release_are_refused_in_one_line_and_left_as_they_are(
    server: Server, database_name: str, admin_engine: Engine, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    """Whoever comes first: a service, or ``migrate``; also where the login of services has no rights yet."""
    with admin_engine.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = :old"), {"old": revision})
        if revision < "0009":
            connection.execute(text("DROP TABLE ops.locks"))
            connection.execute(text(f"REVOKE ALL ON SCHEMA ops FROM {Login.PIPELINE}"))
        before = connection.execute(text(FINGERPRINT)).all()
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(database_name, Login.PIPELINE))
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.set_up_url(database_name))
    for begin in (prepare, start_and_stop):
        with pytest.raises(WarehouseError, match=rf"at revision {revision}, .* first release: .* changed noth") as told:
            begin(Settings())
        assert "\n" not in str(told.value)
        assert f"begins at {REVISIONS[0]}" in str(told.value)
    with admin_engine.connect() as connection:
        assert connection.execute(text(FINGERPRINT)).all() == before


def test_a_failed_migration_leaves_nothing_behind(empty_database: str) -> None:
    engine = open_engine(make_url(empty_database))
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA strava"))
        connection.execute(text("CREATE TABLE strava.splits (kept int)"))
    with pytest.raises(Exception, match="already exists"):
        migrate(engine)
    assert inspect(engine).get_table_names("strava") == ["splits"]
    assert "ops" not in inspect(engine).get_schema_names()
    engine.dispose()
