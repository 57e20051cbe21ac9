"""``import`` lists what was asked for, and pauses and resumes an athlete's imports."""

from __future__ import annotations

import json
from datetime import date

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.states import MadeBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import change, wish, wish_for


@pytest.fixture(autouse=True)
def rider(settings: Settings, engine: Engine) -> None:
    connect_riders(engine, RIDER)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["import", *arguments])


def test_imports_are_listed_with_their_months_and_state(engine: Engine) -> None:
    assert "no import was asked for" in run("list").stdout
    wish_for(engine)
    bounded = wish_for(engine, date(2025, 5, 1), date(2025, 6, 1), by=MadeBy.COMMAND)
    change(engine, bounded, whole_at=LONG_AGO)
    shown = run("list").stdout
    assert "due: goes on by itself" in shown
    assert "2025-05 to 2025-06" in shown
    assert "complete" in shown
    first, second = json.loads(run("list", "--format", "json").stdout)
    assert (first["months"], first["state"], first["complete"], first["made_by"]) == ("all", "due", False, "connect")
    assert (second["complete"], second["told"]) == (True, "complete")


def test_an_athletes_imports_are_paused_and_go_on(engine: Engine) -> None:
    import_id = wish_for(engine)
    paused = run("pause", str(RIDER))
    assert f"1 import paused; strava-pipeline import resume {RIDER} goes on" in paused.stdout
    assert wish(engine, import_id).paused_by == "command"
    assert "paused by a command since" in run("list").stdout
    assert json.loads(run("list", "--format", "json").stdout)[0]["state"] == "paused"
    assert "1 import resumed" in run("resume", str(RIDER)).stdout
    assert wish(engine, import_id).paused_at is None
    with engine.connect() as connection:
        audited = connection.execute(select(operator_audit.c.actor, operator_audit.c.action)).all()
    assert [tuple(row) for row in audited] == [("command", "pause"), ("command", "resume")]


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_without_an_import_the_command_says_so(command: str) -> None:
    refused = run(command, str(RIDER))
    assert isinstance(refused.exception, ConfigurationError)
    assert "import list shows all" in str(refused.exception)


def test_the_histories_of_all_athletes_are_asked_for_at_once(engine: Engine) -> None:
    connect_riders(engine, RIDER + 1, RIDER + 2)
    wish_for(engine)
    assert run("pause", str(RIDER)).exit_code == 0
    asked = run("all")
    assert asked.stdout == "2 imports of a whole history asked for, 1 asked for before\n"
    assert asked.stderr == "1 import paused: strava-pipeline import resume ATHLETE goes on\n"
    assert run("all").stdout == "0 imports of a whole history asked for, 3 asked for before\n"
    listed = json.loads(run("list", "--format", "json").stdout)
    assert [(each["athlete_id"], each["made_by"], each["state"]) for each in listed] == [
        (RIDER, "connect", "paused"),
        (RIDER + 1, "command", "due"),
        (RIDER + 2, "command", "due"),
    ]
