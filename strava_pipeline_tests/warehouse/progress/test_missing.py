"""What a span lacks after a backfill is told by kind, with reasons, and each activity is counted once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import NotAnswered, NotFound, RejectedRequest
from strava_pipeline.months import Span, month_span
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.warehouse.activities.quarantine import add_to_quarantine
from strava_pipeline.warehouse.progress.missing import Lack, Missing, missing
from strava_pipeline.warehouse.states import EventState, ImportStep
from strava_pipeline_tests.inbox import change, connect_riders, rows, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed

MAY = month_span(RIDER, datetime(2025, 5, 1, tzinfo=UTC))
JUNE = month_span(RIDER, datetime(2025, 6, 1, tzinfo=UTC))
ALL = (ImportStep.SUMMARY, ImportStep.DETAIL, ImportStep.STREAMS)
NOT_COMPLETE = f"of 6 activities of athlete {RIDER} are not complete"


@pytest.fixture
def strava() -> StravaStandIn:
    """A ride a day, from the first to the sixth of June, and one in May."""
    strava = StravaStandIn()
    for day in range(1, 7):
        strava.add(day, datetime(2025, 6, day, 8, tzinfo=UTC))
    strava.add(50, datetime(2025, 5, 9, 8, tzinfo=UTC))
    return strava


def look(engine: Engine, span: Span = JUNE, steps: Collection[ImportStep] = ALL) -> Missing:
    with engine.connect() as connection:
        return missing(connection, span, steps)


def bring(strava: StravaStandIn, engine: Engine, *spans: Span) -> None:
    sync = strava.sync(engine)
    import_listed(sync, spans)
    for span in spans:
        import_details(sync, span)
        import_streams(sync, span)


def test_a_whole_month_lacks_nothing(strava: StravaStandIn, engine: Engine) -> None:
    bring(strava, engine, JUNE)
    assert (look(engine).count, look(engine).activities) == (0, 6)
    assert look(engine, MAY).activities == 0


def test_each_kind_is_told_with_its_reasons(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(1, distance="far")
    strava.faults["/activities/2"] = [NotAnswered("activity 2: Strava answered 500 error", status=500)]
    strava.faults["/activities/3"] = [NotFound("GET /activities/3: Strava answered 404 Resource Not Found")]
    strava.faults["/activities/4"] = [RejectedRequest("activity 4: Strava's field laps is not a list")]
    strava.faults["/activities/4/streams"] = [RejectedRequest("activity 4: the samples are odd as well")]
    bring(strava, engine, JUNE)
    bring(strava, engine, MAY)
    found = look(engine)
    assert {lack: set(reasons) for lack, reasons in found.lacks.items()} == {
        Lack.UNUSABLE: {1, 4},
        Lack.UNANSWERED: {2},
        Lack.HIDDEN: {3},
        Lack.NOT_FETCHED: set(),
    }
    told = str(found)
    assert told.startswith(f"4 {NOT_COMPLETE}: 2 put aside (")
    assert "activity 4: Strava's field laps is not a list" in told
    assert "1 not answered (activity 2: Strava answered 500 error)" in told
    assert "1 hidden (GET /activities/3: Strava answered 404 Resource Not Found)" in told
    assert "odd as well" not in told
    # Neither what another span lacks is told, nor another step.
    assert look(engine, MAY).count == 0
    assert set(look(engine, steps=[ImportStep.STREAMS]).lacks[Lack.UNUSABLE]) == {4}
    # The next backfill brings what Strava answers by then.
    strava.edit(1, distance=1000)
    bring(strava, engine, JUNE)
    assert look(engine).count == 0


def test_what_was_not_tried_is_told_apart(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [JUNE])
    assert str(look(engine)) == f"6 {NOT_COMPLETE}: 6 not fetched"
    assert look(engine, steps=[ImportStep.SUMMARY]).count == 0


def test_what_an_event_is_about_to_bring_does_not_lack(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [JUNE])
    connect_riders(engine, RIDER)
    store(engine, 1, 2)
    parked = rows(engine)[1].id
    change(engine, [parked], state=EventState.PARKED)
    store(engine, 3, aspect_type="update", signed=False)
    store(engine, 4, aspect_type="update", signed=True)
    store(engine, 5, aspect_type="delete")
    assert set(look(engine).lacks[Lack.NOT_FETCHED]) == {2, 4, 5, 6}


def test_many_reasons_are_shortened(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [JUNE])
    for number in range(1, 7):
        reasons = {number: f"activity {number} is odd"}
        with engine.begin() as connection:
            add_to_quarantine(connection, JUNE, ImportStep.DETAIL, reasons)
    told = "activity 1 is odd; activity 2 is odd; activity 3 is odd; and 3 more"
    assert str(look(engine)) == f"6 {NOT_COMPLETE}: 6 put aside ({told})"
