"""``dead-letters`` shows what was given up, puts it back, or discards it with a reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline_tests.inbox import change, connect_riders, rows, states, store
from strava_pipeline_tests.strava_stand_in import RIDER


@pytest.fixture(autouse=True)
def three_dead_letters(settings: Settings, engine: Engine) -> None:
    """Two transient ones, the first of them three days old, and a permanent one."""
    connect_riders(engine, RIDER)
    store(engine, 1, 2, 3)
    now = datetime.now(UTC)
    change(engine, state="dead", error_class="transient", error="Strava answered 502", finished_at=now)
    first, _, last = (stored.id for stored in rows(engine))
    change(engine, [first], finished_at=now - timedelta(days=3))
    change(engine, [last], error_class="permanent", error="x" * 100)


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["dead-letters", *arguments], input=answer)


def output(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def objects(*arguments: str) -> list[int]:
    found: list[dict[str, Any]] = json.loads(output("list", "--format", "json", *arguments))
    return [letter["object_id"] for letter in found]


def test_what_waits_is_told_beside(engine: Engine) -> None:
    store(engine, 4)
    later = datetime(2031, 5, 1, 12, tzinfo=UTC)
    change(engine, [rows(engine)[3].id], state="waiting", waiting_for="quota", not_before=later)
    done = run("list")
    assert "1 event(s) are not dead: they wait for quota, until 2031-05-01 12:00 UTC" in done.stderr
    assert len(objects()) == 3


@pytest.mark.parametrize("number", ["0", "9" * 19, "9" * 40])
def test_a_number_that_no_event_can_have_is_refused(number: str) -> None:
    for command in ("show", "replay"):
        done = run(command, number)
        assert done.exit_code == 2
        assert "9223372036854775807" in done.stderr


def ids(engine: Engine) -> list[str]:
    return [str(stored.id) for stored in rows(engine)]


def audited(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        query = select(operator_audit).order_by(operator_audit.c.id)
        return [(row.actor, row.action, row.subject) for row in connection.execute(query)]


def test_they_are_listed_by_class_and_age() -> None:
    assert objects() == [1, 2, 3]
    assert objects("--class", "transient") == [1, 2]
    assert objects("--class", "transient", "--older-than", "2d") == [1]
    assert objects("--older-than", "96h") == []
    table = output("list")
    assert "activity 2" in table
    assert "Strava answered 502" in table
    assert "x" * 59 + "…" in table


def test_without_any_the_list_says_so(engine: Engine) -> None:
    change(engine, state="done")
    assert output("list") == "no dead letters\n"


def test_one_is_shown_whole(engine: Engine) -> None:
    shown = json.loads(output("show", ids(engine)[2]))
    assert (shown["object_id"], shown["error"], shown["state"]) == (3, "x" * 100, "dead")
    missing = run("show", "999")
    assert isinstance(missing.exception, ConfigurationError)


def test_one_is_replayed_without_a_question(engine: Engine) -> None:
    assert output("replay", ids(engine)[0]) == "replay: 1 dead letter(s)\n"
    assert states(engine) == ["waiting", "dead", "dead"]
    assert audited(engine) == [("command", "replay", f"event {ids(engine)[0]}")]


def test_many_are_replayed_after_a_yes_only(engine: Engine) -> None:
    assert run("replay", "--class", "transient", answer="n\n").exit_code == 1
    assert states(engine) == ["dead"] * 3
    assert run("replay", "--class", "transient", answer="y\n").exit_code == 0
    assert states(engine) == ["waiting", "waiting", "dead"]
    assert output("replay", "--all", "--yes") == "replay: 1 dead letter(s)\n"


def test_discarded_ones_are_kept_with_the_reason(engine: Engine) -> None:
    assert run("discard", ids(engine)[0]).exit_code == 2
    output("discard", ids(engine)[0], "--because", "a test ride")
    assert states(engine) == ["discarded", "dead", "dead"]
    shown = json.loads(output("show", ids(engine)[0]))
    assert (shown["state"], shown["discarded_because"]) == ("discarded", "a test ride")
    assert shown["discarded_by"]
    assert objects() == [2, 3]
    assert audited(engine)[0][1] == "discard"


@pytest.mark.parametrize("arguments", [["replay"], ["discard", "--because", "x"], ["replay", "--older-than", "soon"]])
def test_an_unclear_selection_is_refused(engine: Engine, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
    assert states(engine) == ["dead"] * 3


def test_an_unknown_id_changes_nothing(engine: Engine) -> None:
    done = run("replay", ids(engine)[0], "999", "--yes")
    assert isinstance(done.exception, ConfigurationError)
    assert "999" in str(done.exception)
    assert states(engine) == ["dead"] * 3
    assert audited(engine) == []
