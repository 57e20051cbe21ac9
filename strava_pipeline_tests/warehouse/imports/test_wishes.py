"""Wishes: asked for once or again, paused by a person, resumed by a person."""

from __future__ import annotations

import threading
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.wishes import (
    Import,
    ask_for_rest,
    list_imports,
    make_import,
    pause,
    poke,
    resume,
)
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState, ImportStep, MadeBy, PausedBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock
from strava_pipeline_tests.wishes import STEPS, change, wish, wish_for

MAY, JUNE = date(2025, 5, 1), date(2025, 6, 1)
OTHER = 2002


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, RIDER, OTHER)


def test_a_wish_is_due_at_once(engine: Engine) -> None:
    made = wish(engine, wish_for(engine, profile=True))
    assert (made.athlete_id, made.first_month, made.last_month) == (RIDER, None, None)
    assert (made.steps, made.profile, made.made_by, made.state) == (STEPS, True, "connect", "due")
    assert made.is_open
    assert made.begins_newest
    with engine.connect() as connection:
        assert made.next_at <= now(connection)


def test_the_same_months_are_one_wish_that_is_asked_for_anew(engine: Engine) -> None:
    first = wish_for(engine, MAY, JUNE, steps=[ImportStep.DETAIL], by=MadeBy.COMMAND)
    change(engine, first, made_at=LONG_AGO, whole_at=LONG_AGO, attempts=3, error="odd")
    assert wish_for(engine, MAY, JUNE, steps=[ImportStep.SUMMARY], profile=True, by=MadeBy.COMMAND) == first
    again = wish(engine, first)
    assert (again.steps, again.profile) == ((ImportStep.SUMMARY, ImportStep.DETAIL), True)
    assert (again.attempts, again.error, again.whole_at) == (0, None, None)
    assert again.made_at > LONG_AGO
    others = {wish_for(engine), wish_for(engine, MAY, MAY), wish_for(engine, MAY, JUNE, athlete_id=OTHER)}
    assert len(others | {first}) == 4


def test_two_who_ask_at_once_make_one_wish(engine: Engine) -> None:
    with engine.begin() as connection:
        first = make_import(connection, RIDER, None, None, STEPS, profile=True, by=MadeBy.CONNECT)
        second: list[int] = []
        thread = threading.Thread(target=lambda: second.append(wish_for(engine)))
        thread.start()
        wait_for_a_lock(engine, 1)
    thread.join()
    assert second == [first]
    with engine.connect() as connection:
        assert len(list_imports(connection)) == 1


def test_the_operator_who_asks_again_ends_the_pause_and_nobody_else(engine: Engine) -> None:
    import_id = wish_for(engine)
    for by, paused in (
        (MadeBy.RUN, PausedBy.OPERATOR),
        (MadeBy.UPKEEP, PausedBy.OPERATOR),
        (MadeBy.CONNECT, PausedBy.OPERATOR),
        (MadeBy.COMMAND, None),
        (MadeBy.OPERATOR, None),
    ):
        with engine.begin() as connection:
            pause(connection, RIDER, PausedBy.OPERATOR)
        wish_for(engine, by=by)
        assert wish(engine, import_id).paused_by is paused


def test_only_a_new_connection_asks_for_the_newest_month_again(engine: Engine) -> None:
    import_id = wish_for(engine)
    change(engine, import_id, newest_at=LONG_AGO)
    wish_for(engine, by=MadeBy.UPKEEP)
    assert not wish(engine, import_id).begins_newest
    wish_for(engine)
    assert wish(engine, import_id).begins_newest
    assert not wish(engine, wish_for(engine, MAY, JUNE)).begins_newest


def test_all_imports_of_an_athlete_are_paused_and_resumed(engine: Engine) -> None:
    own = [wish_for(engine), wish_for(engine, MAY, JUNE)]
    other = wish_for(engine, athlete_id=OTHER)
    with engine.begin() as connection:
        assert pause(connection, RIDER, PausedBy.OPERATOR) == 2
        assert pause(connection, RIDER, PausedBy.COMMAND) == 0
    assert [wish(engine, each).paused_by for each in own] == ["operator", "operator"]
    assert wish(engine, other).paused_at is None
    change(engine, attempts=5, error="odd")
    with engine.begin() as connection:
        assert resume(connection, RIDER) == 2
        assert resume(connection, OTHER) == 0
    resumed = wish(engine, own[0])
    assert (resumed.paused_at, resumed.paused_by, resumed.attempts, resumed.error) == (None, None, 0, None)
    assert wish(engine, other).attempts == 5


def test_poked_imports_are_due_at_once(engine: Engine) -> None:
    import_id = wish_for(engine)
    with engine.begin() as connection:
        moment = now(connection)
    change(engine, import_id, next_at=moment + timedelta(hours=5))
    with engine.begin() as connection:
        poke(connection, RIDER)
    assert wish(engine, import_id).next_at < moment + timedelta(minutes=1)
    change(engine, import_id, next_at=LONG_AGO)
    with engine.begin() as connection:
        poke(connection, RIDER)
    assert wish(engine, import_id).next_at == LONG_AGO


def test_they_are_listed_by_athlete_the_open_one_first(engine: Engine) -> None:
    bounded = [wish_for(engine, MAY, MAY), wish_for(engine, MAY, JUNE)]
    other, opened = wish_for(engine, athlete_id=OTHER), wish_for(engine)
    with engine.connect() as connection:
        assert [each.id for each in list_imports(connection)] == [opened, bounded[1], bounded[0], other]
        assert [each.id for each in list_imports(connection, [OTHER])] == [other]


def rest(engine: Engine, first: date = MAY, last: date = JUNE, athlete_id: int = RIDER) -> list[Import]:
    """All imports of an athlete after a run of details and samples of these months has failed."""
    steps = [ImportStep.DETAIL, ImportStep.STREAMS]
    with engine.begin() as connection:
        ask_for_rest(connection, athlete_id, first, last, steps, LONG_AGO)
    with engine.connect() as connection:
        return list_imports(connection, [athlete_id])


def test_what_a_failed_run_left_out_is_asked_for_as_of_its_begin(engine: Engine) -> None:
    (made,) = rest(engine)
    assert (made.first_month, made.last_month, made.made_by) == (MAY, JUNE, "run")
    assert (made.steps, made.profile) == ((ImportStep.DETAIL, ImportStep.STREAMS), False)
    # What was listed since is not listed again.
    assert made.made_at == LONG_AGO
    assert [each.id for each in rest(engine)] == [made.id]
    assert len(rest(engine, first=JUNE)) == 1
    assert len(rest(engine, last=date(2025, 7, 1))) == 2


def test_an_import_that_has_the_rest_looks_at_once_and_none_is_made(engine: Engine) -> None:
    later = wish_for(engine)
    with engine.connect() as connection:
        in_a_day = now(connection) + timedelta(days=1)
    change(engine, next_at=in_a_day, attempts=5)
    assert [each.id for each in rest(engine)] == [later]
    found = wish(engine, later)
    assert found.next_at < in_a_day
    assert (found.attempts, found.made_by) == (0, "connect")


def test_an_import_that_has_other_steps_does_not_bring_the_rest_and_a_paused_one_once_it_goes_on(
    engine: Engine,
) -> None:
    wish_for(engine, MAY, JUNE, athlete_id=OTHER, steps=[ImportStep.SUMMARY], by=MadeBy.COMMAND)
    (again,) = rest(engine, athlete_id=OTHER)
    assert again.steps == (ImportStep.SUMMARY, ImportStep.DETAIL, ImportStep.STREAMS)
    assert again.made_at > LONG_AGO
    wish_for(engine)
    with engine.begin() as connection:
        pause(connection, RIDER, PausedBy.OPERATOR)
    (paused,) = rest(engine)
    assert paused.paused_by == "operator"


def test_of_an_athlete_who_left_nothing_is_asked_for(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(users.update().values(state=GrantState.REVOKED))
    with pytest.raises(NeedsReauthorization):
        rest(engine)
    with engine.connect() as connection:
        assert list_imports(connection) == []
