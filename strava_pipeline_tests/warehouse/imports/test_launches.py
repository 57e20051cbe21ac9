"""Launches and runs of imports: one at a time, in order, with growing pauses; lost ones are made up for."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, update

from strava_pipeline.errors import ImportStopped
from strava_pipeline.months import add_months
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports import launches, runs
from strava_pipeline.warehouse.imports.histories import note_history
from strava_pipeline.warehouse.imports.lacking import Lacking
from strava_pipeline.warehouse.imports.launches import (
    LEASE,
    MOST_UNDER_WAY,
    Fate,
    Launch,
    claim_launch,
    look_after,
    most_under_way,
    record_run,
    release,
)
from strava_pipeline.warehouse.imports.runs import Outcome, Task
from strava_pipeline.warehouse.imports.wishes import pause, resume
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportTask, MadeBy, PausedBy
from strava_pipeline_tests.inbox import LONG_AGO, bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock
from strava_pipeline_tests.wishes import FLOOR, change, launch, wish, wish_for

MAY, JUNE = date(2025, 5, 1), date(2025, 6, 1)
OTHER, THIRD = 2002, 3003
PROGRESS = Outcome(progressed=True)
NOTHING_DONE = Outcome(error="odd")


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, RIDER, OTHER, THIRD)


def launched(engine: Engine, **more: Any) -> Launch:
    found = launch(engine, **more)
    assert found is not None
    return found


def begin(engine: Engine, found: Launch) -> Task:
    task = runs.begin(engine, found, f"run-{found.launch_no}", FLOOR)
    assert task is not None
    return task


def end(engine: Engine, found: Launch, outcome: Outcome) -> None:
    with engine.begin() as connection:
        runs.end(connection, found, outcome, FLOOR)


def hold(engine: Engine, import_id: int) -> Launch | None:
    with engine.begin() as connection:
        return runs.hold(connection, import_id, LEASE)


def list_whole(engine: Engine, athlete_id: int = RIDER) -> None:
    """As a listing does that finds no activity."""
    with engine.begin() as connection:
        note_history(connection, athlete_id, None, now(connection))


def pause_from_now(engine: Engine, import_id: int) -> timedelta:
    with engine.connect() as connection:
        return wish(engine, import_id).next_at - now(connection)


def test_one_import_is_launched_once(engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    assert found == Launch(import_id, 1, RIDER, begins_newest=True)
    assert launch(engine) is None
    stored = wish(engine, import_id)
    assert (stored.state, stored.launch_no, stored.doing) == ("launched", 1, "newest_month")
    record_run(engine, found, "a run")
    assert wish(engine, import_id).run_id == "a run"


def test_of_two_launchers_at_once_each_gets_another_import(engine: Engine) -> None:
    both = {wish_for(engine), wish_for(engine, athlete_id=OTHER)}
    found: list[Launch | None] = []
    with engine.begin() as connection:
        first = claim_launch(connection, FLOOR)
        threads = [threading.Thread(target=lambda: found.append(launch(engine))) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
    assert first is not None
    assert {first.import_id, *(each.import_id for each in found if each)} == both
    assert found.count(None) == 1


@pytest.mark.parametrize(
    "values",
    [{"state": "needs_reauth"}, {"state": "revoked"}, {"scopes": ["read"]}, {"scopes": []}],
)
def test_athletes_who_show_no_activities_are_passed_over_and_nothing_is_counted(
    engine: Engine, values: dict[str, Any]
) -> None:
    import_id = wish_for(engine)
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == RIDER).values(values))
    assert launch(engine) is None
    stored = wish(engine, import_id)
    assert (stored.launch_no, stored.attempts, stored.state) == (0, 0, "due")
    with engine.begin() as connection:
        connection.execute(update(users).values(state="active", scopes=["activity:read"]))
    assert launch(engine) is not None


def test_what_is_paused_or_not_due_yet_is_passed_over(engine: Engine) -> None:
    wish_for(engine)
    with engine.begin() as connection:
        pause(connection, RIDER, PausedBy.COMMAND)
    assert launch(engine) is None
    with engine.begin() as connection:
        resume(connection, RIDER)
        later = now(connection) + timedelta(minutes=1)
    change(engine, next_at=later)
    assert launch(engine) is None
    change(engine, next_at=LONG_AGO)
    assert launch(engine) is not None


def test_newest_months_go_first_then_who_lacks_a_newer_month(engine: Engine) -> None:
    bounded = {month: wish_for(engine, month, month, athlete_id=OTHER, by=MadeBy.COMMAND) for month in (MAY, JUNE)}
    change(engine, bounded[MAY], next_month=MAY, launched_at=LONG_AGO)
    change(engine, bounded[JUNE], next_month=JUNE, launched_at=LONG_AGO)
    newest = wish_for(engine, athlete_id=THIRD)
    order = [launched(engine).import_id for _ in range(3)]
    assert order == [newest, bounded[JUNE], bounded[MAY]]


def test_a_launcher_can_ask_for_one_kind(engine: Engine) -> None:
    newest, older = wish_for(engine), wish_for(engine, MAY, JUNE)
    assert launched(engine, newest=False).import_id == older
    assert launch(engine, newest=False) is None
    assert launched(engine, newest=True).import_id == newest


def test_only_so_many_are_under_way_but_a_newest_month_needs_not_wait_for_them(engine: Engine) -> None:
    months = [add_months(MAY, number) for number in range(MOST_UNDER_WAY + 1)]
    for month in months:
        wish_for(engine, month, month)
    for _ in range(MOST_UNDER_WAY):
        begin(engine, launched(engine))
    assert launch(engine) is None
    newest = wish_for(engine)
    assert launched(engine).import_id == newest


def test_with_many_runs_at_once_more_are_under_way(engine: Engine) -> None:
    for number in range(MOST_UNDER_WAY + 3):
        month = add_months(MAY, number)
        wish_for(engine, month, month)

    def all_launched(most: int) -> int:
        launched = 0
        with engine.begin() as connection:
            while claim_launch(connection, FLOOR, most=most) is not None:
                launched += 1
        return launched

    assert all_launched(most_under_way(None)) == MOST_UNDER_WAY
    assert all_launched(most_under_way(12)) == 2
    assert all_launched(most_under_way(10)) == 0


def test_what_lacks_nothing_rests_without_a_run(engine: Engine) -> None:
    import_id = wish_for(engine)
    change(engine, newest_at=LONG_AGO)
    list_whole(engine)
    assert launch(engine) is None
    stored = wish(engine, import_id)
    assert (stored.state, stored.launch_no, stored.runs) == ("due", 0, 0)
    assert stored.whole_at is not None
    assert pause_from_now(engine, import_id) > timedelta(hours=23)
    change(engine, next_at=LONG_AGO, made_at=datetime.now(UTC) + timedelta(hours=1))
    assert launch(engine) is not None


def test_a_launcher_looks_at_so_many_imports_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "LOOKS", 2)
    whole = [wish_for(engine, month, month) for month in (MAY, JUNE, add_months(JUNE, 1))]
    change(engine, made_at=LONG_AGO)
    list_whole(engine)
    for rested in (2, 3):
        assert launch(engine) is None
        assert sum(wish(engine, each).whole_at is not None for each in whole) == rested


def test_the_first_run_brings_the_newest_month_and_the_one_before(engine: Engine) -> None:
    import_id = wish_for(engine, profile=True)
    task = begin(engine, launched(engine))
    with engine.connect() as connection:
        this = add_months(now(connection).date(), 0)
    assert (task.kind, task.months) == (ImportTask.NEWEST_MONTH, (this, add_months(this, -1)))
    assert task.profile
    stored = wish(engine, import_id)
    assert (stored.state, stored.doing_first, stored.doing_last) == ("running", add_months(this, -1), this)
    end(engine, task.launch, Outcome(progressed=True, newest_is_done=True))
    assert not wish(engine, import_id).begins_newest
    assert begin(engine, launched(engine)).kind is ImportTask.LISTING


def test_a_newest_month_that_is_not_complete_is_tried_again(engine: Engine) -> None:
    import_id = wish_for(engine)
    list_whole(engine)
    found = launched(engine)
    begin(engine, found)
    end(engine, found, NOTHING_DONE)
    stored = wish(engine, import_id)
    assert (stored.begins_newest, stored.attempts, stored.error, stored.whole_at) == (True, 1, "odd", None)


def test_only_a_profile_is_a_run_of_its_own(engine: Engine) -> None:
    wish_for(engine, profile=True)
    change(engine, newest_at=LONG_AGO)
    list_whole(engine)
    assert begin(engine, launched(engine)).kind is ImportTask.PROFILE


def test_runs_without_progress_are_pauses_of_five_minutes_to_six_hours(engine: Engine) -> None:
    import_id = wish_for(engine)
    pauses = []
    for number in range(1, 10):
        found = launched(engine)
        begin(engine, found)
        end(engine, found, NOTHING_DONE)
        stored = wish(engine, import_id)
        assert (stored.attempts, stored.runs, stored.error) == (number, number, "odd")
        pauses.append(round(pause_from_now(engine, import_id).total_seconds() / 60))
        change(engine, next_at=LONG_AGO)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 360, 360]
    found = launched(engine)
    begin(engine, found)
    end(engine, found, PROGRESS)
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.error) == (0, None)
    assert pause_from_now(engine, import_id) < timedelta(seconds=1)


def test_what_waits_for_quota_is_not_counted(engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    begin(engine, found)
    with engine.connect() as connection:
        midnight = now(connection) + timedelta(hours=3)
    end(engine, found, Outcome(error="the quota is used up", retry_at=midnight))
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.next_at, stored.error) == (0, midnight, "the quota is used up")


def test_a_run_with_an_older_number_does_nothing(engine: Engine) -> None:
    import_id = wish_for(engine)
    first = launched(engine)
    change(engine, state="due", next_at=LONG_AGO)
    second = launched(engine)
    assert second.launch_no == 2
    with pytest.raises(ImportStopped, match="another run has it"):
        begin(engine, first)
    begin(engine, second)
    before = wish(engine, import_id)
    end(engine, first, PROGRESS)
    release(engine, first, timedelta(hours=1))
    record_run(engine, first, "late")
    assert not runs.extend(engine, first)
    with pytest.raises(ImportStopped, match="another run has it"):
        runs.refuse_stopped(engine, first)
    assert wish(engine, import_id) == before
    assert runs.extend(engine, second)
    runs.refuse_stopped(engine, second)


def test_a_run_waits_for_whoever_changes_the_import(engine: Engine) -> None:
    wish_for(engine)
    found = launched(engine)
    stopped: list[Exception] = []

    def work() -> None:
        try:
            begin(engine, found)
        except ImportStopped as error:
            stopped.append(error)

    with engine.begin() as connection:
        pause(connection, RIDER, PausedBy.OPERATOR)
        thread = threading.Thread(target=work)
        thread.start()
        wait_for_a_lock(engine, 1)
    thread.join()
    assert len(stopped) == 1


def test_a_pause_ends_a_run_and_stays(engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    begin(engine, found)
    with engine.begin() as connection:
        pause(connection, RIDER, PausedBy.OPERATOR)
    assert not runs.extend(engine, found)
    with pytest.raises(ImportStopped, match=r"paused \(operator\)"):
        runs.refuse_stopped(engine, found)
    end(engine, found, PROGRESS)
    stored = wish(engine, import_id)
    assert (stored.state, stored.paused_by) == ("due", "operator")
    assert launch(engine) is None


def test_an_athlete_who_leaves_ends_a_run(engine: Engine) -> None:
    wish_for(engine)
    found = launched(engine)
    begin(engine, found)
    with engine.begin() as connection:
        connection.execute(update(users).values(state="needs_reauth"))
    with pytest.raises(ImportStopped, match="not connected"):
        runs.refuse_stopped(engine, found)
    with pytest.raises(ImportStopped, match="not connected"):
        begin(engine, found)
    with engine.begin() as connection:
        connection.execute(delete(imports))
    with pytest.raises(ImportStopped, match="is gone"):
        runs.refuse_stopped(engine, found)


def test_a_launch_that_dagster_refuses_is_due_again_later(engine: Engine) -> None:
    import_id = wish_for(engine)
    release(engine, launched(engine), timedelta(seconds=40))
    stored = wish(engine, import_id)
    assert (stored.state, stored.attempts) == ("due", 0)
    assert timedelta(seconds=30) < pause_from_now(engine, import_id) <= timedelta(seconds=40)


@pytest.mark.parametrize("fate", list(Fate))
@pytest.mark.parametrize("has_begun", [False, True])
def test_runs_whose_lease_is_over_are_looked_after(engine: Engine, fate: Fate, has_begun: bool) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    if has_begun:
        begin(engine, found)
    asked: list[Launch] = []

    def fate_of(launch: Launch) -> Fate:
        asked.append(launch)
        return fate

    look_after(engine, fate_of)
    assert asked == []
    change(engine, lease_until=LONG_AGO)
    look_after(engine, fate_of)
    assert asked == [Launch(import_id, 1, RIDER)]
    stored = wish(engine, import_id)
    # A run at work extends its lease itself: one that does not is lost, whatever Dagster thinks.
    is_lost = fate in {Fate.ENDED, Fate.UNKNOWN} or (fate is Fate.AT_WORK and has_begun)
    is_counted = is_lost and not (fate is Fate.UNKNOWN and not has_begun)
    assert (stored.state == "due") == (is_lost or fate is Fate.CANCELED)
    assert stored.paused_by == ("cancel" if fate is Fate.CANCELED else None)
    assert (stored.attempts, stored.runs) == ((1, 1) if is_counted else (0, 0))
    if stored.state != "due":
        assert stored.lease_until is not None
        assert stored.lease_until > LONG_AGO
    elif is_counted:
        assert timedelta(minutes=4) < pause_from_now(engine, import_id) <= timedelta(minutes=5)


def test_an_import_whose_lost_run_had_stored_something_is_due_at_once(engine: Engine) -> None:
    import_id = wish_for(engine)
    begin(engine, launched(engine))
    change(engine, lease_until=LONG_AGO, attempts=3)
    strava = StravaStandIn()
    strava.add(1, datetime(2025, 6, 9, tzinfo=UTC))
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    look_after(engine, lambda _: Fate.ENDED)
    stored = wish(engine, import_id)
    assert (stored.state, stored.attempts, stored.runs) == ("due", 0, 1)
    assert pause_from_now(engine, import_id) <= timedelta(0)


def test_a_run_that_stood_still_goes_on_if_nobody_took_over(engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    begin(engine, found)
    change(engine, lease_until=LONG_AGO)
    look_after(engine, lambda _: Fate.AT_WORK)
    assert wish(engine, import_id).state == "due"
    assert runs.extend(engine, found)
    assert wish(engine, import_id).state == "running"


def test_while_dagster_cannot_be_asked_nothing_changes(engine: Engine) -> None:
    import_id = wish_for(engine)
    launched(engine)
    change(engine, lease_until=LONG_AGO)
    before = wish(engine, import_id)

    def is_away(_: Launch) -> Fate:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        look_after(engine, is_away)
    assert wish(engine, import_id) == before


def test_a_command_takes_an_import_in_hand_unless_a_run_is_at_work(engine: Engine) -> None:
    import_id = wish_for(engine, MAY, JUNE, by=MadeBy.COMMAND)
    queued = launched(engine)
    held = hold(engine, import_id)
    assert held == Launch(import_id, 2, RIDER)
    with pytest.raises(ImportStopped, match="another run has it"):
        begin(engine, queued)
    stored = wish(engine, import_id)
    assert (stored.state, stored.doing_first, stored.doing_last) == ("running", MAY, JUNE)
    assert hold(engine, import_id) is None
    change(engine, lease_until=LONG_AGO)
    assert hold(engine, import_id) == Launch(import_id, 3, RIDER)


def test_a_year_of_what_lacks_is_one_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wish_for(engine, MAY, JUNE)
    months = tuple(add_months(JUNE, -back) for back in (0, 3, 11, 12, 30))
    for module in ("launches", "runs"):
        attribute = f"strava_pipeline.warehouse.imports.{module}.lacking"
        monkeypatch.setattr(attribute, lambda *_, **__: Lacking(months=months))
    task = begin(engine, launched(engine))
    assert (task.kind, task.months) == (ImportTask.MONTHS, months[:3])
