"""Pauses: what a person paused stays so, whatever runs and upkeep ask for meanwhile; what nobody paused goes on."""

from __future__ import annotations

import threading
from datetime import date

import pytest
from sqlalchemy import Engine

from strava_pipeline.warehouse.imports.edited_months import import_edited
from strava_pipeline.warehouse.imports.launches import Fate, look_after
from strava_pipeline.warehouse.imports.wishes import ask_for_rest, list_imports, make_import, pause, pause_one, resume
from strava_pipeline.warehouse.states import ImportStep, MadeBy, PausedBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock
from strava_pipeline_tests.wishes import STEPS, change, launch, wish, wish_for

MAY, JUNE, JULY = date(2025, 5, 1), date(2025, 6, 1), date(2025, 7, 1)
OTHER = 2002
FOLLOWERS = (MadeBy.RUN, MadeBy.UPKEEP)


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, RIDER, OTHER)


def pause_all(engine: Engine, by: PausedBy = PausedBy.OPERATOR) -> None:
    with engine.begin() as connection:
        pause(connection, RIDER, by)


def pauses(engine: Engine) -> dict[date | None, PausedBy | None]:
    """Who paused each import of the rider, by its first month."""
    with engine.connect() as connection:
        return {each.first_month: each.paused_by for each in list_imports(connection, [RIDER])}


@pytest.mark.parametrize("by", FOLLOWERS)
def test_what_nobody_asked_for_is_paused_like_the_rest(engine: Engine, by: MadeBy) -> None:
    first = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    pause_all(engine)
    made = wish(engine, wish_for(engine, JUNE, JUNE, by=by))
    assert (made.paused_by, made.paused_at) == ("operator", wish(engine, first).paused_at)
    assert launch(engine) is None
    with engine.begin() as connection:
        assert resume(connection, RIDER) == 2
    assert launch(engine) is not None


@pytest.mark.parametrize("by", FOLLOWERS)
def test_without_a_pause_it_goes_on(engine: Engine, by: MadeBy) -> None:
    wish_for(engine, MAY, MAY, athlete_id=OTHER)
    with engine.begin() as connection:
        pause(connection, OTHER, PausedBy.OPERATOR)
    assert wish(engine, wish_for(engine, JUNE, JUNE, by=by)).paused_at is None
    assert launch(engine) is not None


def test_edited_months_and_the_rest_of_a_failed_run_wait_for_the_pause_to_end(engine: Engine) -> None:
    wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    pause_all(engine)
    with engine.begin() as connection:
        import_edited(connection, RIDER, [JUNE])
        assert not ask_for_rest(connection, RIDER, JULY, JULY, [ImportStep.DETAIL], LONG_AGO)
    assert pauses(engine) == dict.fromkeys((MAY, JUNE, JULY), PausedBy.OPERATOR)
    assert launch(engine) is None


def test_what_exists_already_is_paused_too_when_it_is_asked_for_again(engine: Engine) -> None:
    wish_for(engine, JUNE, JUNE, by=MadeBy.UPKEEP)
    change(engine, whole_at=LONG_AGO)
    import_id = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    change(engine, import_id, paused_at=LONG_AGO, paused_by=PausedBy.CANCEL)
    wish_for(engine, JUNE, JUNE, by=MadeBy.UPKEEP)
    assert pauses(engine) == {MAY: PausedBy.CANCEL, JUNE: PausedBy.CANCEL}


def test_a_canceled_run_pauses_what_nobody_asked_for_and_no_other_import(engine: Engine) -> None:
    import_id = wish_for(engine)
    for month, by in ((MAY, MadeBy.RUN), (JUNE, MadeBy.UPKEEP), (JULY, MadeBy.COMMAND)):
        wish_for(engine, month, month, by=by)
    wish_for(engine, MAY, MAY, athlete_id=OTHER, by=MadeBy.UPKEEP)
    assert launch(engine, newest=True) is not None
    change(engine, import_id, lease_until=LONG_AGO)
    look_after(engine, lambda _: Fate.CANCELED)
    canceled = PausedBy.CANCEL
    assert pauses(engine) == {None: canceled, MAY: canceled, JUNE: canceled, JULY: None}
    with engine.connect() as connection:
        assert [each.paused_by for each in list_imports(connection, [OTHER])] == [None]


def test_a_cancel_that_comes_after_the_import_went_on_pauses_nothing(engine: Engine) -> None:
    import_id = wish_for(engine)
    assert launch(engine) is not None
    change(engine, import_id, lease_until=LONG_AGO)

    def goes_on(_: object) -> Fate:
        change(engine, import_id, launch_no=2)
        return Fate.CANCELED

    look_after(engine, goes_on)
    assert pauses(engine) == {None: None}


def test_the_command_that_goes_on_takes_along_what_nobody_else_would_resume(engine: Engine) -> None:
    import_id = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    with engine.begin() as connection:
        pause_one(connection, RIDER, import_id, PausedBy.COMMAND)
        import_edited(connection, RIDER, [JUNE])
    assert pauses(engine) == {MAY: PausedBy.COMMAND, JUNE: PausedBy.COMMAND}
    wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    assert pauses(engine) == {MAY: None, JUNE: None}


def test_a_command_for_other_months_leaves_the_pause_as_it_is(engine: Engine) -> None:
    wish_for(engine)
    wish_for(engine, JUNE, JUNE, by=MadeBy.UPKEEP)
    pause_all(engine)
    wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    assert pauses(engine) == {None: PausedBy.OPERATOR, JUNE: PausedBy.OPERATOR, MAY: None}


def test_a_persons_import_stays_theirs_when_upkeep_asks_for_the_same_months(engine: Engine) -> None:
    import_id = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    wish_for(engine, MAY, MAY, by=MadeBy.UPKEEP)
    assert wish(engine, import_id).made_by == "command"
    assert wish(engine, wish_for(engine, MAY, MAY, by=MadeBy.OPERATOR)).made_by == "operator"


def test_a_pause_finds_what_is_being_asked_for(engine: Engine) -> None:
    wish_for(engine)
    with engine.begin() as connection:
        make_import(connection, RIDER, JUNE, JUNE, STEPS, profile=False, by=MadeBy.UPKEEP)
        pausing = threading.Thread(target=pause_all, args=(engine,))
        pausing.start()
        wait_for_a_lock(engine, 1)
    pausing.join()
    assert pauses(engine) == {None: PausedBy.OPERATOR, JUNE: PausedBy.OPERATOR}
