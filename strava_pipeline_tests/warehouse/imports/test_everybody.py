"""The histories of all athletes are asked for once, whatever ends that in between and whoever else asks."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import Connection, Engine, event, select, update

from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.imports.everybody import AskedForAll, ask_for_all, count_without_import
from strava_pipeline.warehouse.imports.launches import MOST_UNDER_WAY
from strava_pipeline.warehouse.imports.wishes import list_imports, pause
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import HISTORY_STEPS, MadeBy, PausedBy
from strava_pipeline.warehouse.tokens.grants import Grant, grant_of
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.wishes import launch, wish_for

HIDING, LEAVING = 8, 9


def ask(engine: Engine) -> AskedForAll:
    return ask_for_all(engine, MadeBy.COMMAND, Actor.COMMAND)


def asked_for(engine: Engine) -> list[int]:
    """The athletes whose whole history was asked for."""
    with engine.connect() as connection:
        return [each.athlete_id for each in list_imports(connection) if each.first_month is None and each.is_open]


def without(engine: Engine) -> int:
    with autocommit(engine) as connection:
        return count_without_import(connection)


def audited(engine: Engine) -> list[str | None]:
    with autocommit(engine) as connection:
        return list(connection.execute(select(operator_audit.c.subject).order_by(operator_audit.c.id)).scalars())


def test_each_athlete_who_shows_activities_and_has_no_import_gets_one(engine: Engine) -> None:
    connect_riders(engine, 1, 2, 3)
    connect_riders(engine, HIDING, scopes=["read"])
    connect_riders(engine, LEAVING, state="needs_reauth")
    wish_for(engine, athlete_id=1)
    wish_for(engine, date(2025, 5, 1), date(2025, 6, 1), athlete_id=2)
    assert without(engine) == 2
    assert ask(engine) == AskedForAll(asked=2, asked_before=1, paused=0)
    assert asked_for(engine) == [1, 2, 3]
    assert audited(engine) == ["athlete 2", "athlete 3"]
    assert without(engine) == 0
    with engine.connect() as connection:
        made = list_imports(connection, [3])[0]
    assert (made.made_by, made.steps, made.profile) == (MadeBy.COMMAND, HISTORY_STEPS, True)


def test_a_second_call_changes_nothing_and_ends_no_pause(engine: Engine) -> None:
    connect_riders(engine, 1, 2)
    ask(engine)
    with engine.begin() as connection:
        pause(connection, 1, PausedBy.OPERATOR)
    with engine.connect() as connection:
        before = list_imports(connection)
    assert ask(engine) == AskedForAll(asked=0, asked_before=2, paused=1)
    with engine.connect() as connection:
        assert list_imports(connection) == before
    assert audited(engine) == ["athlete 1", "athlete 2"]


def test_a_call_that_ended_in_the_middle_is_gone_on_with(engine: Engine) -> None:
    connect_riders(engine, 1, 2, 3)

    committed: list[object] = []

    def die_after_two(_: object) -> None:
        if len(committed) == 2:
            raise KeyboardInterrupt

    event.listen(engine, "commit", committed.append)
    event.listen(engine, "begin", die_after_two)
    with pytest.raises(KeyboardInterrupt):
        ask(engine)
    event.remove(engine, "begin", die_after_two)
    assert len(asked_for(engine)) == 2
    assert ask(engine) == AskedForAll(asked=1, asked_before=2, paused=0)
    assert asked_for(engine) == [1, 2, 3]


def test_athletes_who_leave_or_are_asked_for_meanwhile_are_left_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_riders(engine, 1, 2, LEAVING)

    def meanwhile(connection: Connection, athlete_id: int, *, lock: bool) -> Grant | None:
        if athlete_id == 1:
            with engine.begin() as other:
                other.execute(update(users).where(users.c.athlete_id == LEAVING).values(state="revoked"))
            wish_for(engine, athlete_id=2)
        return grant_of(connection, athlete_id, lock=lock)

    monkeypatch.setattr("strava_pipeline.warehouse.imports.everybody.grant_of", meanwhile)
    assert ask(engine) == AskedForAll(asked=1, asked_before=1, paused=0)
    assert asked_for(engine) == [1, 2]


def test_they_are_launched_a_few_at_a_time(engine: Engine) -> None:
    connect_riders(engine, *range(1, 31))
    assert ask(engine).asked == 30
    launched = 0
    while launch(engine) is not None:
        launched += 1
    assert launched == MOST_UNDER_WAY
