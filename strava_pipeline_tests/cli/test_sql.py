"""``sql`` prints what was asked for, and only reads."""

from __future__ import annotations

import json
import tracemalloc
from itertools import islice

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.read_only_query import answering
from strava_pipeline.warehouse.engine import ensure_sql_url

ODD = """SELECT 'a,"b' || chr(10) || '[red]é🦔' AS name, NULL::int AS nothing, 1.5 AS number,
         '2025-01-02T03:04:05Z'::timestamptz AS at, ARRAY[1, NULL] AS list"""


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["sql", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.usefixtures("settings")
def test_csv_has_a_header_line_and_quotes_what_needs_it() -> None:
    expected = 'name,nothing,number,at,list\n"a,""b{}[red]é🦔",,1.5,2025-01-02 03:04:05+00:00,"[1, null]"\n'
    assert run(ODD, "--format", "csv") == expected.format(" ")
    assert run(ODD, "--format", "csv-exact") == expected.format("\n")


@pytest.mark.usefixtures("settings")
def test_json_keeps_types_and_large_integers() -> None:
    (row,) = json.loads(run("SELECT 9223372036854775807 AS id, true AS flag, NULL AS nothing", "--format", "json"))
    assert row == {"id": 9223372036854775807, "flag": True, "nothing": None}


@pytest.mark.usefixtures("settings")
def test_table_shows_markup_as_it_is_and_no_row_as_none() -> None:
    assert "[red]é🦔" in run(ODD)
    assert "name" in run("SELECT name FROM strava.activities")


@pytest.mark.usefixtures("settings")
def test_table_in_a_pipe_is_not_folded_and_holds_no_control_characters() -> None:
    shown = run("SELECT " + ", ".join(f"repeat('wide ', 9) AS column_{number}" for number in range(9)))
    assert sum("wide wide" in line for line in shown.splitlines()) == 1
    assert "\x1b" not in run("SELECT chr(27) || '[31mred' AS name")
    assert "root:x:0 :bike:" in run("SELECT 'root:x:0 :bike:' AS name")


NO_QUERY = [
    "DELETE FROM strava.activities",
    "SELEC 1",
    "",
    "-- SELECT 1",
    "/* /* */ SELECT 1",
    "/* SELECT 1",
    "*/ SELECT 1",
    "SET TRANSACTION READ WRITE",
    "SET ROLE strava_owner",
    "RESET ROLE",
    "COMMIT",
    "/* SELECT */ COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/nowhere/at/all'",
    "LISTEN x",
    "NOTIFY x",
    "CALL f()",
    "LOCK TABLE strava.activities",
    "EXPLAIN ANALYZE DELETE FROM strava.activities",
    # A shell as the database server's user.
    "DO $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch /tmp/x'''; END $$",
]
NOT_ONE = [
    "SELECT 1; COMMIT; DELETE FROM strava.activities",
    "SELECT 1; SELECT 2",
    "SELECT 1 INTO TEMP mine",
    "WITH gone AS (DELETE FROM strava.activities RETURNING id) TABLE gone",
    "SELECT 1 FROM strava.activities FOR UPDATE",
]
TOO_MUCH = [
    # The server's files, and the tokens, by a plain SELECT.
    """WITH r AS MATERIALIZED (SELECT set_config('role', 'none', true) AS role) SELECT found.word
       FROM r, LATERAL ts_stat('SELECT to_tsvector(pg_read_file(''/etc/passwd''))' || left(role, 0)) AS found""",
    """WITH r AS MATERIALIZED (SELECT set_config('role', 'none', true) AS role) SELECT found.word
       FROM r, LATERAL ts_stat('SELECT to_tsvector(strava_access_token) FROM ops.users' || left(role, 0)) AS found""",
    "SELECT set_config('role', 'postgres', true)",
    "SELECT set_config('role', 'strava_owner', true)",
    "SELECT set_config('session_authorization', 'postgres', true)",
    "SELECT query_to_xml('SELECT strava_access_token FROM ops.users', true, true, '')",
    "SELECT state_hash FROM ops.oauth_states",
    "SELECT secret_hash FROM ops.operator_sessions",
    "TABLE ops.users",
    "SELECT u FROM ops.users AS u",
    "SELECT row_to_json(u) FROM ops.users AS u",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_stat_file('PG_VERSION')",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'strava_pipeline'",
    "SELECT lo_creat(-1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/x')",
    "SELECT pg_notify('x', 'y')",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "SELECT nextval('ops.webhook_claims')",
    "SELECT setval('ops.webhook_claims', 1)",
    "SELECT pg_advisory_lock(7283002)",
    "SELECT pg_try_advisory_lock(n) FROM generate_series(1, 1000000) AS n",
    "TABLE pg_authid",
    "TABLE pg_statistic",
]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("viewer", [(), ("--as-analyst",)], ids=["operator", "analyst"])
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        *((statement, "sql runs one SELECT, VALUES, TABLE or WITH, and") for statement in NO_QUERY),
        *((statement, "the query failed: ") for statement in NOT_ONE),
        *((statement, "permission denied") for statement in TOO_MUCH),
    ],
)
def test_what_is_no_query_or_more_than_reading_is_refused_in_one_line(
    statement: str, reason: str, viewer: tuple[str, ...], engine: Engine
) -> None:
    with engine.connect(), pytest.raises(WarehouseError, match=reason) as refused:
        CliRunner().invoke(cli, ["sql", *viewer, "--", statement], catch_exceptions=False)
    assert "\n" not in str(refused.value)


LIFTED = "set_config('statement_timeout', '0', false)"
ENDLESS = """(SELECT count(*)::text FROM generate_series(1, 1000000000) AS a(n), generate_series(1, 1000000) AS b)"""


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "query",
    [
        f"VALUES ({LIFTED} || {ENDLESS})",
        # In another fetch than the one that lifted it.
        f"VALUES ({LIFTED}), ('2'), ('3'), ('4'), ('5'), ('6'), ({ENDLESS})",
    ],
)
def test_a_query_that_lifts_its_own_limit_ends_in_time_all_the_same(query: str) -> None:
    with pytest.raises(WarehouseError, match="statement timeout"):
        run(query, "--timeout", "0.5")


@pytest.mark.usefixtures("settings")
def test_reading_rows_counts_into_the_time_it_may_take() -> None:
    rows = "SELECT n, CASE WHEN n % 100 = 99 THEN pg_sleep(0.05) END FROM generate_series(1, 1000000) AS n"
    with pytest.raises(WarehouseError, match=r"longer than --timeout allows|statement timeout"):
        run(rows, "--timeout", "0.4", "--format", "csv")


@pytest.mark.usefixtures("settings")
def test_a_table_shows_the_first_rows_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strava_pipeline.cli.sql.ROWS_IN_TABLE", 300)
    query = "SELECT n FROM generate_series(1, 400) AS n"
    done = CliRunner().invoke(cli, ["sql", query], catch_exceptions=False)
    assert "there are more rows than a table shows: use --format csv or json to see all" in done.stderr
    assert "300 rows" in done.stderr
    assert len(run(query, "--format", "csv").splitlines()) == 401
    assert len(json.loads(run(query, "--format", "json"))) == 400
    monkeypatch.setattr("strava_pipeline.cli.sql.CHARACTERS_IN_TABLE", 1000)
    wide = "SELECT repeat('x', 400) FROM generate_series(1, 9)"
    assert "2 rows" in CliRunner().invoke(cli, ["sql", wide], catch_exceptions=False).stderr


GROWING = "SELECT CASE WHEN n <= 350 THEN 'a' ELSE repeat('é', 300000) END FROM generate_series(1, 550) AS n"


@pytest.mark.parametrize("seen", [100, 540])
def test_rows_that_grow_are_in_memory_one_at_a_time(settings: Settings, seen: int) -> None:
    tracemalloc.start()
    try:
        with answering(ensure_sql_url(settings, Login.SQL), GROWING, 60) as answer:
            for _ in islice(answer.rows, seen):
                pass
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("form", ["table", "csv", "csv-exact", "json"])
@pytest.mark.parametrize(
    "value", ["repeat('x', 2001)", "to_json(repeat('x', 2001))", "ARRAY[repeat('x', 999), repeat('x', 1002)]"]
)
def test_a_row_too_large_to_print_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, value: str, form: str) -> None:
    monkeypatch.setattr("strava_pipeline.warehouse.access.read_only_query.CHARACTERS_IN_ROW", 2000)
    told = r"a row has 2,0\d\d characters, and sql prints 2,000 at most: select less of it"
    with pytest.raises(WarehouseError, match=told) as refused:
        run(f"VALUES (1, {value})", "--format", form)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("settings")
def test_no_row_is_an_empty_list_in_json() -> None:
    assert json.loads(run("SELECT 1 AS one WHERE false", "--format", "json")) == []
    assert run("SELECT 1 AS one WHERE false", "--format", "csv") == "one\n"


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "query",
    [
        "(SELECT 1)",
        "-- why\nSELECT 1;",
        "-- why\rSELECT 1;",
        "/* a */ VALUES (1)",
        "with x AS (SELECT 1 AS one) TABLE x -- end",
        "/* /* nested */ */ SELECT 1",
        "/*/* a *//* b */*/ -- c\n ( /***/ SELECT 1)",
        "/* -- */ SELECT 1",
        "-- /*\nSELECT 1",
    ],
)
def test_a_query_may_be_in_brackets_and_have_comments(query: str) -> None:
    assert run("--format", "csv", "--", query).splitlines()[1:] == ["1"]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("viewer", "name"), [((), "STRAVA_SQL"), (("--as-analyst",), "STRAVA_ANALYST")])
def test_without_a_login_of_its_own_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, viewer: tuple[str, ...], name: str
) -> None:
    monkeypatch.delenv(f"{name}_DATABASE_URL")
    told = f"run strava-pipeline migrate.* or set {name}_DATABASE_URL"
    with pytest.raises(ConfigurationError, match=told) as refused:
        CliRunner().invoke(cli, ["sql", *viewer, "SELECT 1"], catch_exceptions=False)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("viewer", "login"), [((), "strava_sql"), (("--as-analyst",), "strava_sql_analyst")])
def test_it_is_somebody_else_than_the_pipeline_and_cannot_write(viewer: tuple[str, ...], login: str) -> None:
    query = "SELECT session_user, current_user, current_setting('transaction_read_only')"
    assert run(query, *viewer, "--format", "csv").splitlines()[1] == f"{login},{login},on"


def test_percent_signs_are_taken_as_they_are(settings: Settings) -> None:
    assert settings.database_url is not None
    assert run("SELECT 1 AS one WHERE 'abc' LIKE 'a%'", "--format", "csv") == "one\n1\n"


@pytest.mark.usefixtures("settings")
def test_as_an_analyst_it_reads_nothing_of_the_pipelines_own_tables() -> None:
    with pytest.raises(WarehouseError, match="permission denied for schema ops") as refused:
        run("SELECT strava_access_token FROM ops.users", "--as-analyst")
    assert "\n" not in str(refused.value)
    assert run("SELECT count(*) FROM strava.rides", "--as-analyst", "--format", "csv") == "count\n0\n"
    assert run("SELECT count(*) FROM ops.users", "--format", "csv") == "count\n0\n"


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("query", ["SELECT * FROM ops.users", "TABLE ops.users", "SELECT email_nonce FROM ops.users"])
def test_hidden_columns_are_told_with_what_to_do(query: str) -> None:
    told = r"for table users: ops\.users has hidden columns \(.*strava_access_token.*\), name the columns you want$"
    with pytest.raises(WarehouseError, match=told) as caught:
        run(query)
    assert "\n" not in str(caught.value)
    assert "athlete_id" not in str(caught.value)


@pytest.mark.usefixtures("settings")
def test_a_refusal_for_another_reason_tells_of_no_hidden_columns() -> None:
    with pytest.raises(WarehouseError, match=r"permission denied for function pg_read_file$"):
        run("SELECT pg_read_file('users') FROM ops.quota_windows")
