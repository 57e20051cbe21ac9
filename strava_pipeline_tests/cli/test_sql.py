"""``sql`` prints what was asked for, and only reads."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from strava_pipeline.cli import cli
from strava_pipeline.errors import WarehouseError
from strava_pipeline.settings import Settings

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


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM strava.activities", "read-only"),
        ("SELEC 1", "syntax error"),
        ("SET TRANSACTION READ WRITE", ""),
        ("SELECT 1; COMMIT; DELETE FROM strava.activities", ""),
        ("COPY (SELECT 1) TO PROGRAM 'cat'", "permission denied"),
        ("COPY (SELECT 1) TO '/nowhere/at/all'", "permission denied"),
    ],
)
def test_what_is_no_query_is_refused_in_one_line(statement: str, reason: str) -> None:
    with pytest.raises(WarehouseError) as refused:
        CliRunner().invoke(cli, ["sql", statement], catch_exceptions=False)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


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
