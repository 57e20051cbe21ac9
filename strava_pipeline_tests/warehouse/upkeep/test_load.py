"""What upkeep needs a day beside its share of the quota, in one sentence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
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
