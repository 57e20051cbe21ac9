"""Bringing activities up to date: everything once, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, func, select, text

from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.context import open_sync
from strava_pipeline.warehouse.pauses import Pauses
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.payload_tables import tombstones
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, gear, laps, metadata
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.sync.june import JUNE, LISTING, MAY, bring_up_to_date, ids, on, three_rides, value

WAIT = timedelta(hours=1)


@pytest.fixture
def strava() -> StravaStandIn:
    return three_rides()


def test_a_month_is_imported_with_two_requests_per_recording(strava: StravaStandIn, engine: Engine) -> None:
    results = bring_up_to_date(strava, engine)
    assert [[result.stored for result in step] for step in results] == [[3], [3], [3], [2]]
    assert sorted(strava.new_requests()) == sorted(
        [LISTING, *(f"/activities/{number}" for number in (1, 2, 3)), "/activities/2/streams", "/activities/3/streams"]
    )
    assert ids(engine, laps) == [1, 2, 3]
    assert ids(engine, route_analyses) == [2, 3]
    assert value(engine, activity_streams, "point_count", 1) == 0
    assert value(engine, route_analyses, "distance_m", 2) == 15.0
    assert value(engine, activities, "resource_state", 2) == 3


def test_a_second_pass_asks_for_nothing_but_the_listing(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.new_requests()
    results = bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING]
    assert [[result.stored for result in step] for step in results] == [[0], [0], [0], [0]]
    assert results[0][0].unchanged == 3


def test_kudos_call_for_no_new_detail_and_a_title_does(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.edit(2, kudos_count=40)
    strava.edit(3, name="Renamed")
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/3"]
    assert value(engine, activities, "kudos_count", 2) == 40
    assert value(engine, activities, "name", 3) == "Renamed"


def test_a_deleted_activity_goes_with_everything_that_hangs_on_it(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.delete(2)
    results = bring_up_to_date(strava, engine)
    assert results[0][0].deleted == 1
    for table in metadata.tables.values():
        if "activity_id" in table.c:
            assert (2 in ids(engine, table)) is (table is tombstones), table.name


def test_a_cropped_activity_gets_its_streams_anew(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.edit(3, elapsed_time=100)
    strava.streams[3] = {"time": {"data": [0, 1]}, "distance": {"data": [0.0, 5.0]}}
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/3", "/activities/3/streams"]
    assert value(engine, route_analyses, "point_count", 3) == 2


def test_several_months_take_one_listing_and_an_activity_that_moved_is_kept_once(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.add(4, on(30, month=5))
    bring_up_to_date(strava, engine, JUNE, MAY)
    strava.edit(4, start_date="2025-06-01T00:00:00Z")
    strava.new_requests()
    june, may = bring_up_to_date(strava, engine, JUNE, MAY)[0]
    assert strava.new_requests().count(LISTING) == 1
    assert (june.stored, june.unchanged) == (1, 3)
    assert (may.stored, june.deleted, may.deleted) == (0, 0, 0)
    assert ids(engine, activities) == [1, 2, 3, 4]
    assert value(engine, activities, "start_date", 4) == JUNE.start


def test_a_month_that_begins_with_a_ride_keeps_it(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(4, JUNE.start)
    strava.add(5, JUNE.end)
    bring_up_to_date(strava, engine)
    assert ids(engine, activities) == [1, 2, 3, 4]


def test_more_than_a_page_is_listed_whole(engine: Engine) -> None:
    strava = StravaStandIn()
    for number in range(401):
        strava.add(number + 1, JUNE.start + timedelta(minutes=number))
    (result,) = import_listed(strava.sync(engine), [JUNE])
    assert result.stored == 401
    assert strava.new_requests() == [LISTING] * 3


def test_children_that_strava_lists_twice_are_stored_once(strava: StravaStandIn, engine: Engine) -> None:
    twice = strava.activities[2]["laps"] * 2
    strava.edit(2, laps=twice)
    results = bring_up_to_date(strava, engine)
    assert results[1][0].quarantined == {}
    with engine.connect() as connection:
        query = select(func.count()).select_from(laps).where(laps.c.activity_id == 2)
        assert connection.execute(query).scalar_one() == 2


def test_an_athlete_comes_with_the_gear(strava: StravaStandIn, engine: Engine) -> None:
    assert import_athlete(strava.sync(engine), RIDER) == 1
    with engine.connect() as connection:
        assert connection.execute(select(gear.c.id, gear.c.athlete_id)).all() == [("b1", RIDER)]


def test_a_month_in_which_nothing_changed_is_not_written_again(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    versions = text(
        "SELECT id, xmin::text FROM strava.activities"
        " UNION ALL SELECT activity_id, xmin::text FROM ops.payloads ORDER BY 1, 2"
    )
    with engine.connect() as connection:
        before = connection.execute(versions).all()
    strava.edit(3, kudos_count=7)
    bring_up_to_date(strava, engine)
    with engine.connect() as connection:
        rewritten = {row.id for row in set(connection.execute(versions)) - set(before)}
    assert rewritten == {3}


def test_the_pace_is_the_configured_one(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_sync(settings, engine, Lane.LIVE, WAIT)
    assert (opened.pace.size, opened.pace.interval_s) == (75, 0)
    assert opened.client.transport.lane is Lane.LIVE
    assert opened.client.transport.max_wait == WAIT


@pytest.mark.parametrize(("lane", "hours"), [(Lane.LIVE, 0), (Lane.RECONCILE, 0), (Lane.BACKFILL, 30)])
def test_a_backfill_waits_out_an_outage_and_events_do_not(
    settings: Settings, engine: Engine, lane: Lane, hours: int
) -> None:
    given = settings.model_copy(update={"outage_patience_hours": 30})
    opened = open_sync(given, engine, lane, WAIT)
    assert opened.client.transport.outage_patience == timedelta(hours=hours)
    # What may not wait for quota waits for nothing.
    assert open_sync(given, engine, lane, timedelta(0)).client.transport.outage_patience == timedelta(0)


def test_each_wait_goes_through_the_pauses_that_are_given(settings: Settings, engine: Engine) -> None:
    def sleep(_: float) -> None:
        raise InterruptedError

    given = Pauses(sleep)
    opened = open_sync(settings.model_copy(update={"quota_short_limit": 1}), engine, Lane.LIVE, WAIT, given)
    assert (opened.pauses, opened.pace.sleep) == (given, sleep)
    transport = opened.client.transport
    reserve = partial(
        transport.ledger.reserve, Lane.LIVE, LISTING, RIDER, longest=timedelta(0), max_wait=transport.max_wait
    )
    reserve()
    with pytest.raises(InterruptedError):
        reserve()
