"""Webhooks where some assets are left out: these cost no request, are not stored, and nothing waits for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, func, select

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.kept_assets import kept_of
from strava_pipeline.sync.claims_at_work import work_on_claim
from strava_pipeline.sync.recent import compare_recent
from strava_pipeline.sync.webhook import NotThereYet, SyncResult, sync_activity
from strava_pipeline.warehouse.activities import remapping
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.claims import refresh_claim
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.mail.mail_queue import claim_next
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.payload_tables import payloads, tombstones
from strava_pipeline.warehouse.schema.tables import (
    activities,
    activity_streams,
    gear,
    laps,
    photos,
    segment_efforts,
    segments,
    splits,
)
from strava_pipeline_tests.inbox import claim_one, connect_riders, row, states, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, stream_body

AT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
SUMMARIES = kept_of(["activities"])
DETAILS = kept_of(["activities", "activity_details"])
STREAMS = kept_of(["activities", "activity_details", "activity_streams"])
PROFILES = kept_of(["athletes", "gear"])
PARTS = (laps, splits, segment_efforts, segments, photos)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.add(1, AT, gear={"id": "b1", "name": "Blue"}, start_latlng=[48.2, 16.3])
    return strava


def announce(strava: StravaStandIn, engine: Engine, kept: Kept, aspect: str = "create", **more: Any) -> SyncResult:
    """An event comes in and takes effect at once."""
    store(engine, 1, aspect_type=aspect, **more)
    return sync_activity(strava.sync(engine, kept), claim_one(engine))


def count(engine: Engine, *tables: Table) -> list[int]:
    with engine.connect() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def test_without_details_one_request_brings_the_activity_and_none_of_its_parts(
    strava: StravaStandIn, engine: Engine
) -> None:
    announce(strava, engine, SUMMARIES)
    assert strava.new_requests() == ["/activities/1"]
    assert states(engine) == ["done"]
    assert count(engine, activities, *PARTS, gear) == [1, 0, 0, 0, 0, 0, 0]


def test_parts_that_are_stored_from_before_go_with_the_next_answer(strava: StravaStandIn, engine: Engine) -> None:
    announce(strava, engine, EVERYTHING)
    assert count(engine, laps, gear) == [2, 1]
    announce(strava, engine, SUMMARIES, "update")
    assert count(engine, activities, *PARTS) == [1, 0, 0, 0, 0, 0]


def test_upkeep_finds_no_difference_where_only_parts_are_left_out(strava: StravaStandIn, engine: Engine) -> None:
    announce(strava, engine, SUMMARIES)
    assert compare_recent(strava.sync(engine, SUMMARIES), RIDER, 5) == {}


def test_remapping_brings_no_parts_that_are_left_out_and_those_that_are_kept_again(
    strava: StravaStandIn, engine: Engine
) -> None:
    announce(strava, engine, SUMMARIES)

    def remap(kept: Kept) -> list[int]:
        with engine.connect() as connection:
            before = now(connection)
        assert sum(batch.rebuilt for batch in remapping.remap(engine, before=before, kept=kept)) == 1
        return count(engine, laps, gear)

    assert remap(SUMMARIES) == [0, 0]
    assert remap(DETAILS) == [2, 0]
    assert remap(EVERYTHING) == [2, 1]


def test_without_streams_none_are_asked_for_or_waited_for(strava: StravaStandIn, engine: Engine) -> None:
    strava.streams[1] = {}
    with pytest.raises(NotThereYet):
        announce(strava, engine, STREAMS)
    strava.new_requests()
    waiting = refresh_claim(engine, row(engine).fence)
    assert waiting is not None
    result = sync_activity(strava.sync(engine, DETAILS), waiting)
    assert (result.done, strava.new_requests()) == ("stored", [])
    assert states(engine) == ["done"]
    assert count(engine, activities, laps, activity_streams) == [1, 2, 0]


def test_without_analyses_streams_are_stored_as_they_come(strava: StravaStandIn, engine: Engine) -> None:
    strava.streams[1] = stream_body(60)
    announce(strava, engine, STREAMS)
    assert strava.new_requests() == ["/activities/1", "/activities/1/streams"]
    assert states(engine) == ["done"]
    assert count(engine, activity_streams, route_analyses) == [1, 0]


@pytest.mark.parametrize("kept", [SUMMARIES, DETAILS, STREAMS], ids=["summaries", "details", "streams"])
def test_a_new_activity_has_its_mail_whatever_is_left_out(strava: StravaStandIn, engine: Engine, kept: Kept) -> None:
    announce(strava, engine, kept)
    mail = claim_next(engine)
    assert mail is not None
    assert mail.activity_id == 1


def test_without_activities_an_event_costs_nothing(strava: StravaStandIn, engine: Engine) -> None:
    result = announce(strava, engine, PROFILES)
    announce(strava, engine, PROFILES, "update", updates={"title": "Other"})
    announce(strava, engine, PROFILES, "delete")
    assert (result.start, result.done) == (None, "left out: no activities are kept")
    assert strava.new_requests() == []
    assert states(engine) == ["done", "done", "done"]
    assert count(engine, activities, payloads) == [0, 0]
    assert claim_next(engine) is None


def test_without_activities_one_of_before_is_deleted_once_strava_has_none(
    strava: StravaStandIn, engine: Engine
) -> None:
    announce(strava, engine, EVERYTHING)
    strava.new_requests()
    strava.edit(1, name="Other")
    announce(strava, engine, PROFILES, "delete")
    with engine.connect() as connection:
        assert connection.execute(select(activities.c.name)).scalar() == "Ride 1"
    strava.delete(1)
    announce(strava, engine, PROFILES, "delete")
    assert strava.new_requests() == ["/activities/1", "/activities/1"]
    assert count(engine, activities, tombstones) == [0, 1]
    assert states(engine) == ["done", "done", "done"]


def test_a_run_leaves_out_what_its_context_does_not_keep(strava: StravaStandIn, engine: Engine) -> None:
    store(engine, 1)

    def may_retry(_: StravaPipelineError) -> bool:
        return False

    work_on_claim(strava.sync(engine, SUMMARIES), claim_one(engine), "run-1", may_retry=may_retry, keep_data=False)
    assert strava.new_requests() == ["/activities/1"]
    assert states(engine) == ["done"]
