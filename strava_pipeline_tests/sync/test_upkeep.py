"""Upkeep: the most overdue first, what fails is tried again later, and nobody else's task suffers from that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from strava_pipeline.errors import (
    DatabaseUnavailable,
    MissingScope,
    NeedsReauthorization,
    QuotaExhausted,
    RetriableStravaError,
    StravaAway,
)
from strava_pipeline.months import Span, add_months, month_span, month_start
from strava_pipeline.settings import Settings
from strava_pipeline.sync import upkeep as upkeep_work
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.history import compare_history, import_history
from strava_pipeline.sync.months_at_work import FailedMonth
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities, athlete_stats, gear
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.upkeeping import LONG_AGO, YESTERDAY, make_due, only, rest, rows, work
from strava_pipeline_tests.wishes import change, wish_for

RECENT, PROFILE, GEAR, HISTORY = UpkeepKind.RECENT, UpkeepKind.PROFILE, UpkeepKind.GEAR, UpkeepKind.HISTORY
PROFILE_PATHS = ["/athlete", f"/athletes/{RIDER}/stats", "/athlete/zones"]


@pytest.fixture
def strava(settings: Settings, engine: Engine) -> StravaStandIn:
    connect_riders(engine, RIDER)
    return StravaStandIn()


def test_everything_due_is_done_once_and_due_again_after_its_period(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(1, YESTERDAY)
    worked = work(strava, engine)
    assert (worked.done, worked.changes, worked.failed, worked.stopped) == (
        {RECENT: 1, PROFILE: 1},
        {"create": 1},
        {},
        None,
    )
    assert sorted(strava.new_requests()) == sorted([*PROFILE_PATHS, "/athlete/activities"])
    assert (rest(engine, RECENT), rest(engine, PROFILE)) == (timedelta(hours=6), timedelta(days=1))
    found = rows(engine)
    assert (found[RECENT, ""].requests, found[PROFILE, ""].requests) == (1, 3)
    assert work(strava, engine).done == {}
    assert strava.new_requests() == []


def test_profile_zones_and_totals_are_asked_for_daily(strava: StravaStandIn, engine: Engine) -> None:
    work(strava, engine)
    with engine.begin() as connection:
        connection.execute(update(athlete_stats).values(taken_on=YESTERDAY.date()))
    strava.heart_rate_zones = [{"min": 0, "max": 130}, {"min": 130, "max": -1}]
    make_due(engine, upkeep.c.kind == PROFILE)
    assert work(strava, engine).done == {PROFILE: 1}
    with engine.connect() as connection:
        days = set(connection.execute(select(athlete_stats.c.taken_on)).scalars())
    assert len(days) == 2


def test_a_profile_that_an_import_asked_for_is_not_due(strava: StravaStandIn, engine: Engine) -> None:
    import_athlete(strava.sync(engine), RIDER)
    strava.new_requests()
    assert work(strava, engine).done == {RECENT: 1}


def test_gear_that_the_profile_does_not_list_is_asked_for_once_and_then_every_thirty_days(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.retired["b9"] = {"id": "b9", "name": "Rusty", "primary": False, "retired": True}
    strava.add(1, YESTERDAY, gear_id="b9")
    strava.add(2, YESTERDAY, gear_id="b1")
    for number in (1, 2):
        bring_up_to_date(strava.sync(engine), RIDER, number)
    work(strava, engine)
    assert "/gear/b9" in strava.new_requests()
    with engine.connect() as connection:
        assert connection.execute(select(gear.c.name).where(gear.c.id == "b9")).scalar() == "Rusty"
    assert set(rows(engine, upkeep.c.kind == GEAR)) == {(GEAR, "b9")}
    assert rest(engine, GEAR, "b9") == timedelta(days=30)
    make_due(engine, upkeep.c.kind == PROFILE)
    work(strava, engine)
    assert strava.new_requests() == PROFILE_PATHS
    strava.retired["b9"]["name"] = "Rustier"
    make_due(engine, upkeep.c.kind == GEAR)
    work(strava, engine)
    assert strava.new_requests() == ["/gear/b9"]
    with engine.connect() as connection:
        assert connection.execute(select(gear.c.name).where(gear.c.id == "b9")).scalar() == "Rustier"


def test_a_bike_that_was_retired_is_asked_for_from_then_on_and_not_once_it_is_listed_again(
    strava: StravaStandIn, engine: Engine
) -> None:
    work(strava, engine)
    with engine.begin() as connection:
        connection.execute(insert(gear).values(id="b2", athlete_id=RIDER, name="Red", fetched_at=LONG_AGO))
    strava.retired["b2"] = {"id": "b2", "name": "Red", "primary": False, "retired": True}
    make_due(engine, upkeep.c.kind == PROFILE)
    assert work(strava, engine).done == {PROFILE: 1, GEAR: 1}
    with engine.begin() as connection:
        connection.execute(update(upkeep).where(upkeep.c.kind == GEAR).values(subject="b1"))
    make_due(engine, upkeep.c.kind == PROFILE)
    work(strava, engine)
    assert set(rows(engine, upkeep.c.kind == GEAR)) == {(GEAR, "b2")}


def test_gear_that_strava_does_not_know_keeps_its_name_and_is_no_failure(strava: StravaStandIn, engine: Engine) -> None:
    work(strava, engine)
    with engine.begin() as connection:
        connection.execute(insert(gear).values(id="b2", athlete_id=RIDER, name="Red", fetched_at=LONG_AGO))
    make_due(engine, upkeep.c.kind == PROFILE)
    worked = work(strava, engine)
    assert (worked.done, worked.failed) == ({PROFILE: 1, GEAR: 1}, {})
    with engine.connect() as connection:
        assert connection.execute(select(gear.c.name).where(gear.c.id == "b2")).scalar() == "Red"


@pytest.mark.parametrize(
    "error",
    [
        QuotaExhausted("none left", retry_at=LONG_AGO),
        StravaAway("away", since=LONG_AGO, retry_at=LONG_AGO),
    ],
)
def test_without_quota_or_strava_upkeep_ends_and_the_task_keeps_its_place(
    strava: StravaStandIn, engine: Engine, error: Exception
) -> None:
    strava.faults["/athlete"] = [error]
    work(strava, engine, tasks=0)
    only(engine, PROFILE)
    before = rows(engine)[PROFILE, ""]
    worked = work(strava, engine)
    assert (worked.done, worked.failed, worked.stopped) == ({}, {}, str(error))
    after = rows(engine)[PROFILE, ""]
    assert (after.due_at, after.failures, after.lease_until) == (before.due_at, 0, None)
    assert work(strava, engine).done == {PROFILE: 1}


def test_an_athlete_who_has_used_up_limits_of_their_own_stops_nobody_else(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    later = YESTERDAY + timedelta(days=2)
    strava.faults["/athlete"] = [QuotaExhausted("none left", retry_at=later)]
    worked = work(strava, engine)
    assert (worked.done, worked.failed, worked.stopped) == ({RECENT: 1}, {}, None)
    assert (rows(engine)[PROFILE, ""].failures, rows(engine)[PROFILE, ""].due_at) == (0, later)
    make_due(engine, upkeep.c.kind == PROFILE)
    assert work(strava, engine).done == {PROFILE: 1}


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (RetriableStravaError("500"), timedelta(minutes=10)),
        (NeedsReauthorization("gone"), timedelta(minutes=10)),
        (MissingScope("not granted"), timedelta(days=1)),
    ],
)
def test_a_task_that_fails_is_tried_again_later_and_the_others_go_on(
    strava: StravaStandIn, engine: Engine, error: Exception, pause: timedelta
) -> None:
    strava.faults["/athlete/activities"] = [error]
    worked = work(strava, engine)
    assert (worked.done, list(worked.failed.values())) == ({PROFILE: 1}, [str(error)])
    assert (rows(engine)[RECENT, ""].error, rest(engine, RECENT)) == (str(error), pause)
    make_due(engine, upkeep.c.kind == RECENT)
    assert work(strava, engine).done == {RECENT: 1}
    assert rows(engine)[RECENT, ""].error is None


def test_a_fault_of_ours_is_raised_after_all_others_were_done_and_its_text_is_not_stored(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a name")

    monkeypatch.setattr(upkeep_work, "import_profile", broken)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyError, match="a name"):
        work(strava, engine)
    found = rows(engine)
    assert found[PROFILE, ""].error == "a fault of this program: KeyError"
    assert found[RECENT, ""].done_at is not None
    assert "a name" not in caplog.text


def test_a_run_that_dies_leaves_its_task_due(strava: StravaStandIn, engine: Engine) -> None:
    strava.faults["/athlete"] = [DatabaseUnavailable("away")]
    with pytest.raises(DatabaseUnavailable):
        work(strava, engine)
    with engine.begin() as connection:
        connection.execute(update(upkeep).where(upkeep.c.done_at.is_(None)).values(lease_until=LONG_AGO))
    assert set(work(strava, engine).done) | {RECENT} == {RECENT, PROFILE}


def test_a_run_whose_time_is_up_takes_no_further_task(strava: StravaStandIn, engine: Engine) -> None:
    worked = work(strava, engine, tasks=1)
    assert (worked.done.total(), worked.stopped) == (1, "its time is up")
    assert work(strava, engine).done.total() == 1


def test_what_upkeep_finds_is_in_the_inbox_for_its_lane(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(1, YESTERDAY)
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    strava.add(2, YESTERDAY)
    strava.delete(1)
    assert work(strava, engine).changes == {"create": 1, "delete": 1}
    with engine.connect() as connection:
        found = connection.execute(select(webhook_events.c.source, webhook_events.c.object_id)).all()
        assert connection.execute(select(activities.c.id)).scalars().all() == [1]
    assert sorted(tuple(row) for row in found) == [("reconcile", 1), ("reconcile", 2)]
    with engine.begin() as connection:
        connection.execute(delete(webhook_events))


def test_a_history_is_compared_thirty_days_after_it_was_imported_and_every_thirty_days(
    strava: StravaStandIn, engine: Engine
) -> None:
    month = month_span(RIDER, add_months(month_start(YESTERDAY.date()), -3))
    strava.add(1, month.start)
    import_listed(strava.sync(engine), [month])
    work(strava, engine)
    assert rest(engine, HISTORY) == timedelta(days=30)
    strava.edit(1, name="Renamed")
    strava.add(2, month.start)
    strava.add(3, YESTERDAY)
    strava.new_requests()
    make_due(engine, upkeep.c.kind == HISTORY)
    worked = work(strava, engine)
    assert (worked.done, +worked.changes) == ({HISTORY: 1}, {"create": 1, "written": 2})
    assert strava.new_requests() == ["/athlete/activities"] * 2
    found = rows(engine)
    assert (found[HISTORY, ""].requests, rest(engine, HISTORY)) == (2, timedelta(days=30))
    # Its look at the last days was one of those that are due every six hours.
    assert rest(engine, RECENT) == timedelta(hours=6)
    with engine.connect() as connection:
        assert connection.execute(select(webhook_events.c.object_id)).scalars().all() == [3]
        wish = connection.execute(select(imports)).one()
    assert (wish.made_by, wish.first_month, wish.last_month) == ("upkeep", month.start.date(), month.start.date())


def test_a_history_that_an_import_has_listed_is_not_due(strava: StravaStandIn, engine: Engine) -> None:
    this = month_start(YESTERDAY.date())
    strava.add(1, add_months(this, -3))
    work(strava, engine)
    for _ in import_history(strava.sync(engine), Span(RIDER, add_months(this, -30), add_months(this, 1))):
        pass
    assert rest(engine, HISTORY) == timedelta(days=30)


def test_a_new_athlete_is_not_compared_before_the_newest_month_was_imported(
    strava: StravaStandIn, engine: Engine
) -> None:
    wish_for(engine)
    strava.add(1, YESTERDAY)
    assert work(strava, engine).done == {PROFILE: 1}
    change(engine, newest_at=LONG_AGO)
    assert work(strava, engine).done == {RECENT: 1}


def test_activities_of_an_athlete_who_shows_none_are_not_compared(strava: StravaStandIn, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(scopes=["read"]))
    assert work(strava, engine).done == {PROFILE: 1}


@pytest.fixture
def edited(strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> StravaStandIn:
    """Two months that only a person's run imported, each with an edited activity; the history is due."""
    months = [month_span(RIDER, add_months(month_start(YESTERDAY.date()), -back)) for back in (2, 3)]
    for number, month in enumerate(months, 1):
        strava.add(number, month.start + timedelta(days=1))
    import_listed(strava.sync(engine), months)
    for number in (1, 2):
        strava.edit(number, name="edited")
    work(strava, engine)
    with engine.begin() as connection:
        connection.execute(update(upkeep).where(upkeep.c.kind == HISTORY).values(due_at=LONG_AGO))
    return strava


def comparing(monkeypatch: pytest.MonkeyPatch, change_month: Callable[[int, Any], Any]) -> None:
    """Let ``change_month`` have each month that a comparison yields, with its number."""

    def compare(*given: Any) -> Iterator[Any]:
        for number, month in enumerate(compare_history(*given)):
            yield change_month(number, month)

    monkeypatch.setattr("strava_pipeline.sync.upkeep.compare_history", compare)


def test_what_was_edited_is_imported_even_if_the_comparison_dies_as_soon_as_it_is_written(
    edited: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die_at_the_first(number: int, month: Any) -> Any:
        if month.span.start.date() == add_months(YESTERDAY.date(), -2):
            raise DatabaseUnavailable("the database is away")
        return month

    comparing(monkeypatch, die_at_the_first)
    with pytest.raises(DatabaseUnavailable):
        work(edited, engine)
    with engine.connect() as connection:
        asked_for = connection.execute(select(imports.c.first_month)).scalars().all()
    assert asked_for == [add_months(YESTERDAY.date(), -2)]


def test_a_month_that_could_not_be_compared_is_compared_again_soon(
    edited: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing(monkeypatch, lambda number, month: FailedMonth(month.span, "too slow", ValueError()) if number else month)
    worked = work(edited, engine)
    assert [task.kind for task in worked.failed] == [HISTORY]
    assert "too slow" in worked.failed.popitem()[1]
    assert rest(engine, HISTORY) == due.FIRST_PAUSE
