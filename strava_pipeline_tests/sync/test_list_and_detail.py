"""A listing tells some fields unlike the detail: edits are seen, and nothing is fetched again and again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from strava_pipeline.sync.backfill import import_details
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline_tests.inbox import bring_up_to_date as event
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.sync.june import JUNE, LISTING, bring_up_to_date, ids, row, three_rides, value


@pytest.fixture
def strava() -> StravaStandIn:
    return three_rides()


def test_a_detail_that_differs_from_the_listing_is_fetched_once(strava: StravaStandIn, engine: Engine) -> None:
    sync = strava.sync(engine)
    import_listed(sync, [JUNE])
    # Strava lists some rides with 0 m; the detail has the length.
    strava.edit(2, distance=1234.5)
    import_details(sync, JUNE)
    strava.edit(2, distance=1000)
    import_listed(sync, [JUNE])
    strava.new_requests()
    import_details(sync, JUNE)
    assert strava.new_requests() == []


# Of detail and list; a field that is None in the detail is absent there.
UNLIKE = [
    ({"elapsed_time": 599}, {"elapsed_time": 600}),
    ({"elapsed_time": 600}, {"elapsed_time": 599}),
    ({"elapsed_time": 599, "moving_time": 599}, {"elapsed_time": 7200, "moving_time": 7200}),
    ({"commute": False}, {"commute": None}),
    ({"trainer": None}, {"trainer": False}),
    ({"private": None}, {"private": False}),
    ({"gear_id": None}, {"gear_id": ""}),
    ({"start_date": "2025-06-02T08:00:00Z"}, {"start_date": "2025-06-02T10:00:00.000+02:00"}),
    ({"distance": 2995.0}, {"distance": 0.0}),
    ({"total_photo_count": 0}, {"total_photo_count": 3}),
    ({"total_elevation_gain": 10.0, "visibility": "everyone"}, {"total_elevation_gain": 11.0, "visibility": None}),
]


@pytest.mark.parametrize(("detail", "listed"), UNLIKE, ids=str)
def test_a_list_unlike_its_detail_costs_one_listing(
    strava: StravaStandIn, engine: Engine, detail: dict[str, Any], listed: dict[str, Any]
) -> None:
    strava.edit(2, **detail)
    strava.listed_unlike[2] = listed
    bring_up_to_date(strava, engine)
    told = row(engine, 2)
    assert told | detail == told | {name: detail[name] for name in detail if name == "start_date"}
    for kudos in (5, 6, 6):
        # Kudos call for the summary to be written, and for nothing else.
        strava.edit(2, kudos_count=kudos)
        strava.new_requests()
        bring_up_to_date(strava, engine)
        assert strava.new_requests() == [LISTING]
        assert row(engine, 2) == told | {"kudos_count": kudos}
    assert ids(engine, activity_streams) == [1, 2, 3]


@pytest.mark.parametrize(
    "listed",
    [
        {"name": "Ride 2, listed"},
        {"sport_type": "Ride"},
        {"gear_id": "b9"},
        {"trainer": True},
        {"private": True, "visibility": "only_me"},
        {"start_date": "2025-06-02T08:00:01Z"},
        {"name": "Listed", "elapsed_time": 600, "distance": 0.0},
    ],
    ids=str,
)
def test_an_editable_field_that_two_readings_tell_unlike_is_no_edit(
    strava: StravaStandIn, engine: Engine, listed: dict[str, Any]
) -> None:
    strava.listed_unlike[2] = listed
    bring_up_to_date(strava, engine)
    told = row(engine, 2)
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2"]
    assert row(engine, 2) == told
    for _ in range(2):
        bring_up_to_date(strava, engine)
        assert strava.new_requests() == [LISTING]
        assert row(engine, 2) == told
    # An edit is still seen.
    strava.edit(2, description="another", commute=True)
    bring_up_to_date(strava, engine)
    assert "/activities/2" in strava.new_requests()
    assert value(engine, activities, "commute", 2) is True


def test_an_edit_of_an_activity_with_two_lengths_costs_no_samples(strava: StravaStandIn, engine: Engine) -> None:
    strava.listed_unlike[2] = {"elapsed_time": 211}
    bring_up_to_date(strava, engine)
    strava.edit(2, name="Renamed")
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2"]
    assert value(engine, activities, "name", 2) == "Renamed"
    assert ids(engine, route_analyses) == [2, 3]
    # A crop changes both, and calls for new samples.
    strava.edit(2, elapsed_time=100)
    strava.listed_unlike[2] = {"elapsed_time": 101}
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2", "/activities/2/streams"]


def test_an_activity_that_a_webhook_brought_is_fetched_once_more_if_it_is_listed_unlike(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.listed_unlike[2] = {"name": "Listed", "distance": 0.0}
    connect_riders(engine, RIDER)
    event(strava.sync(engine), RIDER, 2)
    told = row(engine, 2)
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests().count("/activities/2") == 1
    assert row(engine, 2) == told
    # An event that tells nothing new changes nothing about it.
    event(strava.sync(engine), RIDER, 2, "update")
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING]
    assert row(engine, 2) == told
