"""Upkeep where some assets are left out: what is about these is neither done nor late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.kept_assets import kept_of
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.upkeep import wants_details
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.analysis_tables import training_load
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.load import upkeep_load
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.upkeeping import LONG_AGO, YESTERDAY, make_due, work

RECENT, PROFILE, HISTORY = UpkeepKind.RECENT, UpkeepKind.PROFILE, UpkeepKind.HISTORY
LISTING = "/athlete/activities"
SUMMARIES = kept_of(["activities"])
PROFILES = kept_of(["athletes", "gear"])
ANALYSES = kept_of(["activities", "activity_details", "activity_streams", "route_analyses"])


@pytest.fixture
def strava(settings: Settings, engine: Engine) -> StravaStandIn:
    """An athlete with a ride of yesterday, stored with all there is, and with gear that the profile does not list."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.retired["b9"] = {"id": "b9", "name": "Rusty", "primary": False, "retired": True}
    strava.add(1, YESTERDAY, gear_id="b9")
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    strava.new_requests()
    return strava


def kinds(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(upkeep.c.kind)).scalars())


def test_without_athletes_no_profile_and_no_gear_is_asked_for(strava: StravaStandIn, engine: Engine) -> None:
    assert work(strava, engine, kept=SUMMARIES).done == {RECENT: 1}
    assert strava.new_requests() == [LISTING]


def test_without_activities_nothing_is_listed(strava: StravaStandIn, engine: Engine) -> None:
    work(strava, engine, kept=PROFILES)
    asked = strava.new_requests()
    assert LISTING not in asked
    assert "/athlete" in asked
    make_due(engine)
    work(strava, engine, kept=PROFILES)
    assert LISTING not in strava.new_requests()


def test_what_is_left_out_later_is_not_late(strava: StravaStandIn, engine: Engine) -> None:
    import_athlete(strava.sync(engine), RIDER)
    work(strava, engine)
    make_due(engine)
    with engine.begin() as connection:
        before = upkeep_load(connection, load_settings(), now(connection)).lag
        due.add_missing(connection, SUMMARIES)
        after = upkeep_load(connection, load_settings(), now(connection)).lag
    assert (before.due, after.due) == (4, 2)
    assert after.requests_a_day < before.requests_a_day
    assert kinds(engine) <= {RECENT, HISTORY}
    strava.new_requests()
    work(strava, engine, kept=SUMMARIES)
    assert set(strava.new_requests()) == {LISTING}


def test_nothing_is_due_where_all_that_was_is_left_out(strava: StravaStandIn, engine: Engine) -> None:
    with engine.begin() as connection:
        due.add_missing(connection)
        assert due.is_due(connection)
        due.add_missing(connection, SUMMARIES)
    work(strava, engine, kept=SUMMARIES)
    with engine.begin() as connection:
        due.add_missing(connection, SUMMARIES)
        assert not due.is_due(connection)


def test_what_is_kept_again_is_due_at_once(strava: StravaStandIn, engine: Engine) -> None:
    work(strava, engine)
    work(strava, engine, kept=SUMMARIES)
    strava.new_requests()
    assert work(strava, engine).done[PROFILE] == 1


def test_without_details_none_is_fetched_anew(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_UPKEEP_DETAILS_PER_DAY", "24")
    work(strava, engine)
    with engine.begin() as connection:
        connection.execute(update(payloads).values(fetched_at=LONG_AGO))
        connection.execute(
            update(upkeep)
            .where(upkeep.c.kind == UpkeepKind.DETAILS)
            .values(due_at=now(connection) - due.CATCH_UP - timedelta(minutes=1))
        )
        assert wants_details(connection, load_settings())
        assert not wants_details(connection, load_settings(), SUMMARIES)
    strava.new_requests()
    work(strava, engine, kept=SUMMARIES)
    assert strava.new_requests() == []
    assert UpkeepKind.DETAILS not in kinds(engine)
    work(strava, engine)
    assert "/activities/1" in strava.new_requests()


def test_without_training_load_none_is_computed(strava: StravaStandIn, engine: Engine) -> None:
    def days() -> int:
        with engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(training_load)).scalar_one()

    assert work(strava, engine, kept=ANALYSES).loads == {}
    assert days() == 0
    assert UpkeepKind.LOADS not in kinds(engine)
    assert work(strava, engine).loads == {RIDER: days()}
