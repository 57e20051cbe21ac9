"""Samples that Strava has not got ready while a ride is imported come later: a backfill asks as the live path does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.months import month_span
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.warehouse.activities.quality import without_streams
from strava_pipeline.warehouse.activities.stream_store import store_streams, streams_needed
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.progress.import_progress import import_progress
from strava_pipeline.warehouse.progress.job_progress import count_done
from strava_pipeline.warehouse.progress.missing import Lack, missing
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.tables import activity_streams
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed, stream_body
from strava_pipeline_tests.wishes import lacks, wish_for

JUNE = month_span(RIDER, datetime(2025, 6, 1, tzinfo=UTC))
RECORDED: dict[str, Any] = {"start_latlng": [48.2, 16.3], "has_heartrate": True}
STREAMS = "/activities/1/streams"
TOLD = f"streams of activity 1 of athlete {RIDER}: Strava has none yet"


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """A ride with a route and a heart rate, listed and fetched, whose samples Strava has not got ready."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.add(1, JUNE.start.replace(day=9), **RECORDED)
    strava.streams[1] = {}
    import_listed(strava.sync(engine), [JUNE])
    import_details(strava.sync(engine), JUNE)
    strava.new_requests()
    return strava


def points(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(activity_streams.c.point_count)).scalars())


def store_none(engine: Engine) -> None:
    """Store that there are no samples."""
    with engine.begin() as connection:
        store_streams(connection, map_streams(RIDER, 1, {}), now(connection))


def test_samples_that_are_not_ready_are_put_aside_for_growing_pauses_and_come_later(
    strava: StravaStandIn, engine: Engine
) -> None:
    pauses = []
    for _ in range(3):
        assert import_streams(strava.sync(engine), JUNE, due=True).quarantined == {1: TOLD}
        assert import_streams(strava.sync(engine), JUNE, due=True).stored == 0
        assert strava.new_requests() == [STREAMS]
        with engine.begin() as connection:
            pauses.append(connection.execute(select(put_aside.c.retry_at - put_aside.c.tried_at)).scalar_one())
            connection.execute(update(put_aside).values(retry_at=LONG_AGO))
    assert pauses == [timedelta(days=days) for days in (1, 7, 30)]
    assert points(engine) == []
    strava.streams[1] = stream_body()
    assert import_streams(strava.sync(engine), JUNE, due=True).stored == 1
    assert points(engine) == [4]
    with engine.connect() as connection:
        assert connection.execute(select(put_aside)).all() == []


def test_what_is_not_ready_is_told_and_does_not_lack(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine, JUNE.start.date(), JUNE.start.date(), steps=[ImportStep.STREAMS])
    assert lacks(engine, import_id).months == (JUNE.start.date(),)
    import_streams(strava.sync(engine), JUNE, due=True)
    found = lacks(engine, import_id)
    assert (found.nothing, found.later) == (True, 1)
    with engine.connect() as connection:
        told = missing(connection, JUNE, [ImportStep.STREAMS])
    assert told.lacks[Lack.UNANSWERED] == {1: TOLD}
    assert str(told).endswith(f"is not complete: 1 not answered ({TOLD})")


def test_samples_that_were_stored_empty_lack_wherever_that_is_told(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine, JUNE.start.date(), JUNE.start.date(), steps=[ImportStep.STREAMS])
    store_none(engine)
    with engine.connect() as connection:
        assert streams_needed(connection, 1).missing
        assert [found.unexplained for found in without_streams(connection)] == [1]
        assert count_done(connection, JUNE).streamed == 0
        assert import_progress(connection, [RIDER])[RIDER].streamed == 0
    assert lacks(engine, import_id).months == (JUNE.start.date(),)
    strava.streams[1] = stream_body()
    assert import_streams(strava.sync(engine), JUNE, due=True).stored == 1
    assert points(engine) == [4]


@pytest.mark.parametrize("more", [{"start_latlng": [], "has_heartrate": False}, {"manual": True}])
def test_where_none_are_expected_none_is_an_answer(strava: StravaStandIn, engine: Engine, more: dict[str, Any]) -> None:
    import_id = wish_for(engine, JUNE.start.date(), JUNE.start.date(), steps=[ImportStep.STREAMS])
    strava.edit(1, **more)
    import_listed(strava.sync(engine), [JUNE])
    assert import_streams(strava.sync(engine), JUNE).stored == 1
    assert points(engine) == [0]
    assert lacks(engine, import_id).months == ()
    with engine.connect() as connection:
        assert count_done(connection, JUNE).streamed == 1
    strava.new_requests()
    assert import_streams(strava.sync(engine), JUNE).stored == 0
    assert strava.new_requests() == []
