"""Segments go with the last effort on them, whoever rode them together and whatever else is at work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select

from strava_pipeline.strava.mapping.activity import detail_rows
from strava_pipeline.warehouse.activities.activity_store import store_parts
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.bulk import store_changed
from strava_pipeline.warehouse.schema.tables import activities, segment_efforts, segments
from strava_pipeline.warehouse.shared_segments import delete_segments_of_nobody
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

DAY = datetime(2025, 6, 10, tzinfo=UTC)
WALL = 5
SHARED = {"id": WALL, "name": "The wall", "fetched_at": DAY}


def effort(connection: Connection, activity_id: int, segment_id: int) -> None:
    row = {"activity_id": activity_id, "id": activity_id * 10, "athlete_id": activity_id, "segment_id": segment_id}
    connection.execute(insert(segment_efforts).values(row))


@pytest.fixture
def ridden(engine: Engine) -> Engine:
    """A segment on which two activities have an effort each."""
    with engine.begin() as connection:
        connection.execute(insert(segments).values(SHARED))
        effort(connection, 1, WALL)
        effort(connection, 2, WALL)
    return engine


def left(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(segments.c.id).order_by(segments.c.id)).scalars())


def ride_ends(connection: Connection, activity_id: int) -> None:
    connection.execute(delete(segment_efforts).where(segment_efforts.c.activity_id == activity_id))
    delete_segments_of_nobody(connection, [WALL])


def test_it_stays_while_one_has_ridden_it(ridden: Engine) -> None:
    with ridden.begin() as connection:
        ride_ends(connection, 1)
    assert left(ridden) == [5]
    with ridden.begin() as connection:
        ride_ends(connection, 2)
    assert left(ridden) == []


def test_of_two_that_end_at_once_the_second_takes_it_along(ridden: Engine) -> None:
    def end_second() -> None:
        with ridden.begin() as connection:
            ride_ends(connection, 2)

    with ThreadPoolExecutor(1) as other:
        with ridden.begin() as connection:
            ride_ends(connection, 1)
            second = other.submit(end_second)
            wait_for_a_lock(ridden, waiting=1)
        second.result(PATIENCE_SECONDS)
    assert left(ridden) == []


def test_one_that_is_ridden_at_this_moment_is_there_afterwards(ridden: Engine) -> None:
    """Whoever stores an effort has inserted it, and then stores the segment, as store_parts does."""

    def end_both() -> None:
        with ridden.begin() as connection:
            ride_ends(connection, 1)
            ride_ends(connection, 2)

    with ThreadPoolExecutor(1) as other:
        with ridden.begin() as connection:
            effort(connection, 3, WALL)
            store_changed(connection, segments, [SHARED])
            ending = other.submit(end_both)
            wait_for_a_lock(ridden, waiting=1)
        ending.result(PATIENCE_SECONDS)
    assert left(ridden) == [5]


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Two stored rides over segment 77."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number in (1, 2):
        strava.add(number, DAY)
        bring_up_to_date(strava.sync(engine), RIDER, number)
    return strava


def without_efforts(connection: Connection, strava: StravaStandIn, activity_id: int) -> None:
    rows = detail_rows(RIDER, strava.activities[activity_id] | {"segment_efforts": []})
    store_parts(connection, activity_id, rows, datetime.now(UTC))


GONE: dict[str, Callable[[Connection, StravaStandIn, int], object]] = {
    "the activity": lambda connection, _, activity_id: delete_activities(connection, [activity_id]),
    "the effort": without_efforts,
}


@pytest.mark.parametrize("gone", GONE)
def test_a_segment_goes_with_the_last_effort_on_it(engine: Engine, strava: StravaStandIn, gone: str) -> None:
    for number, still in ((1, [77]), (2, [])):
        with engine.begin() as connection:
            GONE[gone](connection, strava, number)
        assert left(engine) == still
    with engine.connect() as connection:
        assert len(connection.execute(select(activities.c.id)).all()) == (2 if gone == "the effort" else 0)
