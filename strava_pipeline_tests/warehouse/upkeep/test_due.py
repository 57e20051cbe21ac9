"""The list of upkeep: the most overdue first, everybody equally late, and nothing lost with its worker."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.wishes import pause
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import PausedBy, UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.due import Lag, Periods, UpkeepTask
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import change as change_import
from strava_pipeline_tests.wishes import wish_for

EVERY = Periods(recent=timedelta(hours=6))
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
RECENT, PROFILE = UpkeepKind.RECENT, UpkeepKind.PROFILE


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        due.add_missing(connection)


def take(engine: Engine) -> UpkeepTask | None:
    with engine.begin() as connection:
        return due.take_due(connection)


def taken(engine: Engine) -> UpkeepTask:
    task = take(engine)
    assert task is not None
    return task


def finish(engine: Engine, task: UpkeepTask, requests: int = 1) -> None:
    with engine.begin() as connection:
        due.done(connection, task, after=EVERY.of(task.kind), requests=requests)


def change(engine: Engine, *where: object, **values: object) -> None:
    """Change rows behind everybody's back: what time does, without waiting for it."""
    with engine.begin() as connection:
        connection.execute(update(upkeep).where(*where).values(**values))  # type: ignore[arg-type]


def rest(engine: Engine) -> timedelta:
    """How long it is until the one task of the list is due."""
    with engine.connect() as connection:
        due_at: datetime = connection.execute(select(upkeep.c.due_at)).scalar_one()
        return due_at - now(connection)


@pytest.fixture
def only_recent(engine: Engine) -> None:
    """A list with one task."""
    connect_riders(engine, RIDER)
    fill(engine)
    with engine.begin() as connection:
        connection.execute(upkeep.delete().where(upkeep.c.kind != RECENT))


def test_every_connected_athlete_is_on_the_list_once(engine: Engine) -> None:
    connect_riders(engine, 1, 2)
    connect_riders(engine, 3, state="needs_reauth")
    fill(engine)
    fill(engine)
    with engine.connect() as connection:
        assert {(row.athlete_id, row.kind) for row in connection.execute(select(upkeep))} == {
            (rider, kind) for rider in (1, 2) for kind in (RECENT, PROFILE)
        }


def test_the_most_overdue_task_goes_first_and_then_to_the_back_of_the_queue(engine: Engine) -> None:
    connect_riders(engine, 1, 2, 3)
    fill(engine)
    for rider, hours in ((2, 0), (3, 1), (1, 2)):
        change(engine, upkeep.c.athlete_id == rider, due_at=LONG_AGO + timedelta(hours=hours))
    order = []
    while (task := take(engine)) is not None:
        finish(engine, task)
        order.append((task.athlete_id, task.kind))
    assert order == [(rider, kind) for rider in (2, 3, 1) for kind in (PROFILE, RECENT)]


@pytest.mark.usefixtures("only_recent")
def test_a_task_under_way_is_taken_by_nobody_else_until_its_lease_ends(engine: Engine) -> None:
    first = taken(engine)
    assert take(engine) is None
    change(engine, lease_until=LONG_AGO)
    second = taken(engine)
    assert (second.due_at, second.take) == (first.due_at, first.take + 1)


@pytest.mark.usefixtures("only_recent")
def test_a_worker_that_stood_still_does_not_end_the_task_of_another(engine: Engine) -> None:
    late = taken(engine)
    change(engine, lease_until=LONG_AGO)
    second = taken(engine)
    finish(engine, late)
    with engine.begin() as connection:
        due.failed(connection, late, "too late", at_most=timedelta(days=1))
        due.put_back(connection, late)
    due._extend(engine, late)
    with engine.connect() as connection:
        row = connection.execute(select(upkeep)).one()
    assert (row.done_at, row.error, row.takes) == (None, None, second.take)
    assert row.lease_until is not None


@pytest.mark.usefixtures("only_recent")
def test_a_lease_is_extended_while_its_worker_lives(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "BEAT_SECONDS", 0.01)
    task = taken(engine)
    change(engine, lease_until=LONG_AGO)
    with due.kept(engine, task):
        for _ in range(1000):
            with engine.connect() as connection:
                if connection.execute(select(upkeep.c.lease_until)).scalar_one() > LONG_AGO:
                    break
        else:
            pytest.fail("the lease was not extended")


@pytest.mark.usefixtures("only_recent")
def test_a_task_that_was_put_back_keeps_its_place(engine: Engine) -> None:
    task = taken(engine)
    with engine.begin() as connection:
        due.put_back(connection, task)
        assert due.is_due(connection)
    assert taken(engine).due_at == task.due_at


@pytest.mark.usefixtures("only_recent")
def test_pauses_after_failures_double_up_to_a_limit(engine: Engine) -> None:
    pauses = []
    for _ in range(7):
        change(engine, due_at=LONG_AGO)
        task = taken(engine)
        with engine.begin() as connection:
            due.failed(connection, task, "a line\nand another", at_most=EVERY.of(task.kind))
        pauses.append(round(rest(engine) / timedelta(minutes=1)))
    assert pauses == [10, 20, 40, 80, 160, 320, 360]
    change(engine, due_at=LONG_AGO)
    finish(engine, taken(engine))
    with engine.connect() as connection:
        row = connection.execute(select(upkeep)).one()
    assert (row.failures, row.error, row.requests, row.lease_until) == (0, None, 1, None)
    assert round(rest(engine) / timedelta(minutes=1)) == 360


def test_tasks_of_an_athlete_who_must_connect_again_wait_on_the_list(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    fill(engine)
    with engine.begin() as connection:
        connection.execute(update(users).values(state="needs_reauth"))
    assert take(engine) is None
    with engine.begin() as connection:
        assert not due.is_due(connection)
        connection.execute(update(users).values(state="active"))
    assert take(engine) is not None


@pytest.mark.parametrize("soon", [timedelta(minutes=5), due.NEW_FOR + timedelta(minutes=5)])
def test_a_new_athletes_days_are_compared_once_the_newest_month_is_there_or_after_some_hours(
    engine: Engine, soon: timedelta
) -> None:
    connect_riders(engine, RIDER)
    fill(engine)
    asked = wish_for(engine)
    with engine.begin() as connection:
        connection.execute(update(imports).values(made_at=now(connection) - soon))
    kinds = {taken(engine).kind}
    if soon < due.NEW_FOR:
        assert take(engine) is None
        change_import(engine, asked, newest_at=LONG_AGO)
    assert kinds | {taken(engine).kind} == {PROFILE, RECENT}


def test_a_paused_import_keeps_nobody_from_comparing_a_new_athletes_days(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    fill(engine)
    wish_for(engine)
    with engine.begin() as connection:
        pause(connection, RIDER, PausedBy.OPERATOR)
    assert {taken(engine).kind, taken(engine).kind} == {PROFILE, RECENT}


def test_what_was_done_elsewhere_is_due_a_period_later(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    for _ in range(2):
        with engine.begin() as connection:
            due.note_done_elsewhere(connection, RIDER, PROFILE, after=EVERY.of(PROFILE))
        assert timedelta(hours=23) < rest(engine) <= timedelta(days=1)
    assert take(engine) is None


def test_an_erased_athlete_has_no_tasks_and_gets_none(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    fill(engine)
    task = taken(engine)
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    finish(engine, task)
    fill(engine)
    with engine.begin() as connection, pytest.raises(NeedsReauthorization):
        due.note_done_elsewhere(connection, RIDER, PROFILE, after=EVERY.of(PROFILE))
    with engine.connect() as connection:
        assert connection.execute(select(upkeep)).all() == []


def test_the_lag_says_since_when_and_how_many_requests_a_day_are_needed(engine: Engine) -> None:
    connect_riders(engine, 1, 2)
    connect_riders(engine, 3, state="revoked")
    fill(engine)
    with engine.connect() as connection:
        found = due.lag(connection, EVERY)
    assert (found.due, found.athletes, found.requests_a_day, found.recent_a_day) == (4, 2, 2 * (4 + 3), 2 * 4)
    change(engine, upkeep.c.athlete_id == 1, due_at=LONG_AGO)
    finish(engine, taken(engine), requests=5)
    with engine.connect() as connection:
        assert due.lag(connection, EVERY) == Lag(LONG_AGO, 3, 0, 2, 2 * 4 + 3 + 5, 2 * 4)
    change(engine, upkeep.c.kind == PROFILE, failures=3)
    with engine.connect() as connection:
        assert due.lag(connection, EVERY).failing == 2


def test_an_empty_list_is_not_late(engine: Engine) -> None:
    with engine.connect() as connection:
        assert due.lag(connection, EVERY) == Lag()


def test_with_more_athletes_than_the_quota_serves_all_are_served_equally_late(engine: Engine) -> None:
    """100 athletes with 200 tasks, of which a day serves 50: after four days each was done once, after eight twice."""
    athletes, a_day = 100, 50
    connect_riders(engine, *range(1, athletes + 1))
    fill(engine)
    change(engine, due_at=LONG_AGO)
    times: Counter[tuple[int, UpkeepKind]] = Counter()
    for served in range(1, 8 * a_day + 1):
        task = taken(engine)
        finish(engine, task)
        # A period is shorter than a cycle: what was done is overdue again before its turn comes.
        done = (upkeep.c.athlete_id == task.athlete_id, upkeep.c.kind == task.kind)
        change(engine, *done, due_at=LONG_AGO + timedelta(hours=served))
        times[task.athlete_id, task.kind] += 1
        if served % (4 * a_day) == 0:
            assert set(times.values()) == {served // (4 * a_day)}
            assert len(times) == 2 * athletes
