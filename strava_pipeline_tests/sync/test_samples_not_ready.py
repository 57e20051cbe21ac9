"""Samples that Strava has not got ready while a ride is imported come later: a backfill asks as the live path does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.months import Span, add_months, month_span, month_start
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.activities.quality import without_streams
from strava_pipeline.warehouse.activities.stream_store import READY_WITHIN, store_streams, streams_needed
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.progress.import_progress import import_progress
from strava_pipeline.warehouse.progress.job_progress import count_done
from strava_pipeline.warehouse.progress.missing import Lack, missing
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.tables import activity_streams
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.inbox import LONG_AGO, change, connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed, stream_body
from strava_pipeline_tests.wishes import lacks, wish_for

RECORDED: dict[str, Any] = {"start_latlng": [48.2, 16.3], "has_heartrate": True}
LASTED_S = 3600
STREAMS = "/activities/1/streams"
TOLD = f"streams of activity 1 of athlete {RIDER}: Strava has none yet"


@pytest.fixture
def strava() -> StravaStandIn:
    return StravaStandIn()


def ride(strava: StravaStandIn, engine: Engine, ended: timedelta = timedelta(minutes=5), **more: Any) -> Span:
    """A ride that ended so long ago is listed and fetched, without samples; returns its month."""
    connect_riders(engine, RIDER)
    with engine.connect() as connection:
        start = now(connection).replace(microsecond=0) - ended - timedelta(seconds=LASTED_S)
    strava.add(1, start, **RECORDED | {"elapsed_time": LASTED_S} | more)
    strava.streams[1] = {}
    month = month_span(RIDER, month_start(add_months(start.date(), 0)))
    import_listed(strava.sync(engine), [month])
    import_details(strava.sync(engine), month)
    strava.new_requests()
    return month


def points(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(activity_streams.c.point_count)).scalars())


def wish_of(engine: Engine, month: Span) -> int:
    return wish_for(engine, month.start.date(), month.start.date(), steps=[ImportStep.STREAMS])


def test_samples_that_are_not_ready_are_put_aside_for_a_day_and_come_later(
    strava: StravaStandIn, engine: Engine
) -> None:
    month = ride(strava, engine)
    assert import_streams(strava.sync(engine), month, due=True).quarantined == {1: TOLD}
    assert import_streams(strava.sync(engine), month, due=True).stored == 0
    assert strava.new_requests() == [STREAMS]
    with engine.begin() as connection:
        pause = connection.execute(select(put_aside.c.retry_at - put_aside.c.tried_at)).scalar_one()
        connection.execute(update(put_aside).values(retry_at=LONG_AGO))
    assert pause == READY_WITHIN
    assert points(engine) == []
    strava.streams[1] = stream_body()
    assert import_streams(strava.sync(engine), month, due=True).stored == 1
    assert points(engine) == [4]
    with engine.connect() as connection:
        assert connection.execute(select(put_aside)).all() == []


def test_what_is_not_ready_is_told_and_does_not_lack(strava: StravaStandIn, engine: Engine) -> None:
    month = ride(strava, engine)
    import_id = wish_of(engine, month)
    assert lacks(engine, import_id).months == (month.start.date(),)
    import_streams(strava.sync(engine), month, due=True)
    found = lacks(engine, import_id)
    assert (found.nothing, found.later) == (True, 1)
    with engine.connect() as connection:
        told = missing(connection, month, [ImportStep.STREAMS])
    assert told.lacks[Lack.UNANSWERED] == {1: TOLD}
    assert str(told).endswith(f"is not complete: 1 not answered ({TOLD})")


def test_samples_that_were_stored_empty_too_early_lack_wherever_that_is_told(
    strava: StravaStandIn, engine: Engine
) -> None:
    month = ride(strava, engine)
    import_id = wish_of(engine, month)
    with engine.begin() as connection:
        store_streams(connection, map_streams(RIDER, 1, {}), now(connection))
    check_changed_months(engine)
    with engine.connect() as connection:
        assert streams_needed(connection, 1).missing
        assert [found.unexplained for found in without_streams(connection)] == [1]
        assert count_done(connection, month).streamed == 0
        assert import_progress(connection, [RIDER])[RIDER].streamed == 0
    assert lacks(engine, import_id).months == (month.start.date(),)
    strava.streams[1] = stream_body()
    assert import_streams(strava.sync(engine), month, due=True).stored == 1
    assert points(engine) == [4]


@pytest.mark.parametrize("what", ["create", "update"])
def test_samples_of_an_old_ride_may_come_after_its_upload_or_crop(
    strava: StravaStandIn, engine: Engine, what: str
) -> None:
    month = ride(strava, engine, timedelta(days=3000))
    store(engine, 1, aspect_type=what)
    assert import_streams(strava.sync(engine), month).quarantined == {1: TOLD}
    change(engine, received_at=LONG_AGO)
    assert import_streams(strava.sync(engine), month).stored == 1
    assert points(engine) == [0]


@pytest.mark.parametrize(
    ("ended", "more"),
    [
        pytest.param(timedelta(0), {"start_latlng": [], "has_heartrate": False}, id="nothing recorded"),
        pytest.param(timedelta(0), {"manual": True}, id="by hand"),
        pytest.param(READY_WITHIN, {}, id="recorded a day ago"),
    ],
)
def test_where_none_can_come_none_is_an_answer(
    strava: StravaStandIn, engine: Engine, ended: timedelta, more: dict[str, Any]
) -> None:
    month = ride(strava, engine, ended, **more)
    import_id = wish_of(engine, month)
    assert import_streams(strava.sync(engine), month).stored == 1
    assert points(engine) == [0]
    assert lacks(engine, import_id).months == ()
    with engine.connect() as connection:
        assert not streams_needed(connection, 1).missing
        assert without_streams(connection) == []
        assert count_done(connection, month).streamed == 1
    strava.new_requests()
    assert import_streams(strava.sync(engine), month).stored == 0
    assert strava.new_requests() == []
