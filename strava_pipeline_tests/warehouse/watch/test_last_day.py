"""The last 24 hours are counted by hour: calls by lane and result, events by how long they took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.watch.last_day import (
    HOUR,
    CallResult,
    Calls,
    Processing,
    calls_by_hour,
    calls_by_lane,
    calls_of,
    last_hours,
    processing_by_hour,
)

MOMENT = datetime(2026, 3, 1, 10, 20, tzinfo=UTC)
THIS_HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
FIRST_HOUR = datetime(2026, 2, 28, 11, tzinfo=UTC)


def add_calls(engine: Engine, *calls: dict[str, Any]) -> None:
    usual = {
        "lane": "live", "endpoint": "/athlete", "athlete_id": 1, "reserved_at": MOMENT - timedelta(minutes=5),
        "settled_at": MOMENT - timedelta(minutes=4), "status": 200,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(insert(api_calls), [usual | call for call in calls])


def add_done(engine: Engine, finished_at: datetime, *took_s: float, **more: Any) -> None:
    usual = {
        "source": "webhook", "subscription_id": 1, "object_type": "activity", "object_id": 1, "aspect_type": "create",
        "owner_id": 1, "event_time": MOMENT, "updates": {}, "signed": True, "state": "done", "finished_at": finished_at,
    }  # fmt: skip
    with engine.begin() as connection:
        for number, seconds in enumerate(took_s):
            key = f"{finished_at} {number} {more}"
            values = usual | {"event_key": key, "received_at": finished_at - timedelta(seconds=seconds)} | more
            connection.execute(insert(webhook_events).values(values))


def counted(engine: Engine) -> list[Calls]:
    with engine.connect() as connection:
        return calls_by_hour(connection, MOMENT)


def measured(engine: Engine) -> list[Processing]:
    with engine.connect() as connection:
        return processing_by_hour(connection, MOMENT)


def test_there_are_24_hours_up_to_this_one() -> None:
    hours = last_hours(MOMENT)
    assert (len(hours), hours[0], hours[-1]) == (24, FIRST_HOUR, THIS_HOUR)
    assert {later - earlier for earlier, later in pairwise(hours)} == {HOUR}


def test_an_empty_database_has_neither_calls_nor_events(engine: Engine) -> None:
    assert counted(engine) == []
    assert measured(engine) == []


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, CallResult.ANSWERED),
        (404, CallResult.ANSWERED),
        (401, CallResult.REFUSED),
        (429, CallResult.REFUSED),
        (500, CallResult.UNANSWERED),
        (None, CallResult.UNANSWERED),
    ],
)
def test_a_call_counts_by_its_status(engine: Engine, status: int | None, result: CallResult) -> None:
    add_calls(engine, {"status": status})
    assert counted(engine) == [Calls(THIS_HOUR, "live", result, 1)]


def test_a_call_under_way_has_no_result_yet_and_one_of_a_dead_process_is_unanswered(engine: Engine) -> None:
    under_way = {"status": None, "settled_at": None}
    add_calls(engine, under_way | {"reserved_at": MOMENT - timedelta(seconds=10)})
    assert counted(engine) == []
    add_calls(engine, under_way)
    assert counted(engine) == [Calls(THIS_HOUR, "live", CallResult.UNANSWERED, 1)]


def test_calls_are_counted_from_the_first_hour_to_this_moment(engine: Engine) -> None:
    times = (FIRST_HOUR, FIRST_HOUR - timedelta(seconds=1), FIRST_HOUR + HOUR, MOMENT + timedelta(seconds=1))
    add_calls(engine, *({"reserved_at": at, "lane": "backfill"} for at in times), {"reserved_at": FIRST_HOUR})
    assert [(each.hour, each.lane, each.calls) for each in counted(engine)] == [
        (FIRST_HOUR, "backfill", 1),
        (FIRST_HOUR, "live", 1),
        (FIRST_HOUR + HOUR, "backfill", 1),
    ]


def test_calls_add_up_by_hour_and_by_lane() -> None:
    later = FIRST_HOUR + HOUR
    calls = [
        Calls(FIRST_HOUR, "backfill", CallResult.ANSWERED, 5),
        Calls(FIRST_HOUR, "live", CallResult.ANSWERED, 2),
        Calls(FIRST_HOUR, "live", CallResult.REFUSED, 1),
        Calls(later, "live", CallResult.ANSWERED, 9),
    ]
    assert calls_of(calls, CallResult.ANSWERED) == {FIRST_HOUR: 7, later: 9}
    assert list(calls_by_lane(calls).items()) == [("live", 12), ("backfill", 5)]


def test_processing_times_are_those_of_webhook_events_that_are_done(engine: Engine) -> None:
    add_done(engine, THIS_HOUR, 1, 2, 60)
    add_done(engine, FIRST_HOUR, 4, 5)
    add_done(engine, FIRST_HOUR - timedelta(seconds=1), 1000)
    add_done(engine, MOMENT, 1000, source="reconcile")
    add_done(engine, MOMENT, 1000, state="discarded")
    assert measured(engine) == [Processing(FIRST_HOUR, 2, 4.5, 5), Processing(THIS_HOUR, 3, 2, 60)]


def test_a_clock_that_was_set_back_makes_no_time_below_zero(engine: Engine) -> None:
    add_done(engine, MOMENT, -20)
    assert measured(engine) == [Processing(THIS_HOUR, 1, 0, 0)]
