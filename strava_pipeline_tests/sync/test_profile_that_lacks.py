"""Imports of athletes whose profile Strava does not tell: no month waits for it, and it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import (
    MissingScope,
    NeedsReauthorization,
    NotAnswered,
    QuotaExhausted,
    RejectedRequest,
    StravaAway,
    StravaError,
)
from strava_pipeline.sync import imports as importing
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.months_at_work import MonthsFailed
from strava_pipeline.warehouse.imports.runs import Outcome
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.sync.test_imports import FLOOR, LISTING, in_order, months_ago, run_once, without_pause
from strava_pipeline_tests.wishes import change, lacks, launch, wish, wish_for

ODD_PROFILES = [
    NotAnswered("GET /athlete: Strava answered 500", status=500, answered=False),
    RejectedRequest("the athlete: Strava's field weight is not a number"),
    MissingScope("GET /athlete: connect again and allow it", status=401),
]


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Strava with a ride of last month, and three older ones in two months of different years."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number, back in ((4, 1), (3, 8), (2, 30), (1, 30)):
        strava.add(number, months_ago(back) + timedelta(days=number))
    return strava


@pytest.mark.parametrize("error", ODD_PROFILES, ids=lambda error: type(error).__name__)
def test_a_profile_that_strava_does_not_tell_keeps_no_month_from_its_import(
    strava: StravaStandIn, engine: Engine, error: StravaError
) -> None:
    """It is tried again by each run, and after growing pauses when nothing else lacks."""
    import_id = wish_for(engine, profile=True)
    strava.faults["/athlete"] = [error] * 6
    with pytest.raises(type(error)):
        run_once(strava, engine)
    stored = wish(engine, import_id)
    assert in_order(strava) == [4]
    assert not stored.begins_newest
    assert (stored.attempts, stored.error) == (0, f"the profile is left out: {error}")
    for _ in range(3):
        with pytest.raises(type(error)):
            run_once(strava, engine)
    assert in_order(strava) == [4, 3, 2, 1]
    assert wish(engine, import_id).attempts == 0
    found = lacks(engine, import_id, FLOOR)
    assert (found.profile, found.months, found.listing) == (True, (), None)
    for attempts, minutes in ((1, 5), (2, 10)):
        with pytest.raises(type(error)):
            run_once(strava, engine)
        stored = wish(engine, import_id)
        assert (stored.attempts, stored.whole_at) == (attempts, None)
        assert stored.error == f"the profile is left out: {error}"
        assert timedelta(minutes=minutes - 1) < without_pause(engine, import_id) <= timedelta(minutes=minutes)
        assert launch(engine, FLOOR) is None
        change(engine, next_at=LONG_AGO)
    assert run_once(strava, engine) == Outcome(progressed=True)
    assert lacks(engine, import_id, FLOOR).nothing
    assert (wish(engine, import_id).whole_at is not None, wish(engine, import_id).error) == (True, None)


@pytest.mark.parametrize(
    "error",
    [StravaAway("nobody is answered", since=None, retry_at=None), NeedsReauthorization("the grant has ended")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_not_about_the_profile_alone_ends_the_run_there(
    strava: StravaStandIn, engine: Engine, error: StravaError
) -> None:
    import_id = wish_for(engine, profile=True)
    strava.faults["/athlete"] = [error]
    with pytest.raises(type(error)):
        run_once(strava, engine)
    assert strava.asked == ["/athlete"]
    assert wish(engine, import_id).begins_newest


def test_months_that_fail_are_told_where_the_profile_lacks_as_well(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = wish_for(engine, profile=True)
    strava.faults["/athlete"] = [ODD_PROFILES[0]]

    def fails(*_: Any) -> SpanResult:
        raise RejectedRequest("no figures")

    monkeypatch.setattr(importing, "analyse_span", fails)
    with pytest.raises(MonthsFailed, match="no figures"):
        run_once(strava, engine)
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.begins_newest) == (0, False)
    assert stored.error == f"the profile is left out: {ODD_PROFILES[0]}"


def test_a_profile_that_lacks_does_not_hide_what_a_run_waits_for(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine, profile=True)
    strava.faults["/athlete"] = [ODD_PROFILES[0]]
    used_up = QuotaExhausted("used up", retry_at=datetime.now(UTC) + timedelta(hours=1))
    strava.faults[LISTING] = [used_up]
    outcome = run_once(strava, engine)
    assert outcome == Outcome(error="used up", retry_at=used_up.retry_at)
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.next_at) == (0, used_up.retry_at)
