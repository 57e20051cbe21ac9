"""What upkeep needs a day beside its share of the quota, in one sentence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.quota_tables import api_calls, quota_windows
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.load import UpkeepLoad, upkeep_load
from strava_pipeline_tests.inbox import connect_riders


def load(engine: Engine) -> UpkeepLoad:
    with engine.connect() as connection:
        return upkeep_load(connection, load_settings(), now(connection))


def connect(engine: Engine, athletes: int, due_for: timedelta) -> None:
    connect_riders(engine, *range(1, athletes + 1))
    with engine.begin() as connection:
        due.add_missing(connection)
        connection.execute(update(upkeep).values(due_at=now(connection) - due_for))


@pytest.mark.usefixtures("settings")
def test_few_athletes_are_served_in_time(engine: Engine) -> None:
    connect(engine, 10, timedelta(hours=-1))
    found = load(engine)
    assert found.times_share < 1
    assert str(found) == (
        "10 athletes need 70 requests a day, 40 of these to list the last days every 6 h, and 2 more for each new"
        " activity that no webhook tells of; upkeep's share is 150 a day"
    )


@pytest.mark.usefixtures("settings")
def test_with_more_athletes_than_the_quota_serves_it_says_so(engine: Engine) -> None:
    connect(engine, 100, timedelta(days=3))
    found = load(engine)
    assert str(found) == (
        "100 athletes need 700 requests a day, 400 of these to list the last days every 6 h, and 2 more for each new"
        " activity that no webhook tells of; upkeep's share is 150 a day, so every task is equally late: they need 4.7"
        " times that; 200 due, the oldest since 3 days"
    )


def test_a_shorter_period_costs_more_and_limits_of_each_athlete_make_room(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.upkeep_recent_hours == 6
    connect(engine, 100, timedelta(hours=1))
    monkeypatch.setenv("STRAVA_UPKEEP_RECENT_HOURS", "1")
    assert load(engine).lag.requests_a_day == 100 * (24 + 3)
    monkeypatch.setenv("STRAVA_UPKEEP_SHARE", "0.5")
    assert load(engine).share_a_day == 300
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    assert load(engine).share_a_day == 300 * 100


@pytest.fixture
def own_limits(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Ten athletes, each with limits of their own."""
    connect(engine, 10, timedelta(hours=-1))
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    return engine


def call_live(engine: Engine, athlete_id: int, calls: int) -> None:
    """An athlete's webhooks have caused so many calls on each of the last two days."""
    with engine.begin() as connection:
        for day in range(1, 3):
            at = now(connection) - timedelta(days=day)
            row = {"lane": Lane.LIVE, "endpoint": "/activities/{id}", "athlete_id": athlete_id, "reserved_at": at}
            connection.execute(insert(api_calls), [row] * calls)


def test_live_calls_of_one_athlete_take_from_no_other_athletes_share(own_limits: Engine) -> None:
    # On the app's only quota these would be 800 calls a day.
    for athlete_id in range(1, 11):
        call_live(own_limits, athlete_id, 80)
    found = load(own_limits)
    assert found.own is not None
    assert found.own.least == found.own.most == found.share_a_day / 10
    # A quarter of what 1.3 x 80 expected live calls and room for a burst of 100 leave of 1,000.
    assert found.own.least == (1000 - 104 - 100) // 4


def test_each_athletes_share_is_told_by_limits_and_live_calls_of_their_own(own_limits: Engine) -> None:
    call_live(own_limits, 1, 300)
    with own_limits.begin() as connection:
        moment = now(connection) - timedelta(days=1)
        told = {"booked": 0, "read_foreign": 0, "overall_foreign": 0, "read_limit": 3000}
        row = {
            "scope": "athlete:2",
            "length_s": 86400,
            "starts_at": moment.replace(hour=0, minute=0, second=0, microsecond=0),
        }
        connection.execute(insert(quota_windows).values(row | told))
    found = load(own_limits)
    assert found.own is not None
    assert (found.own.least, found.own.most) == ((1000 - 390 - 100) // 4, (3000 - 100) // 4)
    shares = f"upkeep's share is {found.own.least} to {found.own.most} a day of each athlete's own limits"
    assert str(found) == (
        "10 athletes need 70 requests a day, 40 of these to list the last days every 6 h, and 2 more for each new"
        f" activity that no webhook tells of; {shares}"
    )


def test_an_athlete_who_needs_more_than_their_share_is_not_hidden_by_the_others(own_limits: Engine) -> None:
    with own_limits.begin() as connection:
        theirs = (upkeep.c.athlete_id == 7, upkeep.c.kind == UpkeepKind.RECENT)
        connection.execute(update(upkeep).where(*theirs).values(requests=100))
    found = load(own_limits)
    assert found.share_a_day > found.lag.requests_a_day
    assert found.own is not None
    assert found.own.lacking == 1
    assert found.times_share == found.own.times_share > 1
    assert "so the tasks of 1 athlete are late: they need up to " in str(found)


def test_with_limits_of_their_own_but_without_athletes_nothing_is_needed(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    found = load(engine)
    assert (found.share_a_day, found.times_share) == (0, 0.0)
