"""The last 24 hours of calls to Strava and of events, hour by hour, for the operator's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from sqlalchemy import Column, ColumnElement, Connection, Double, and_, case, cast, extract, func, or_, select

from strava_pipeline.strava.quota.outage import LONGEST_CALL
from strava_pipeline.warehouse.schema.columns import UTC_TIME
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.states import EventSource, EventState

HOURS = 24
HOUR = timedelta(hours=1)


class CallResult(StrEnum):
    """What became of a call.

    ANSWERED: with what was asked for, or that it is not there. REFUSED: any other status of 4xx, such as 401 or 429.
    UNANSWERED: 5xx, no answer, or none that was noted.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


@dataclass(frozen=True)
class Calls:
    """Calls of one hour and lane with one result; ``hour``: its start (UTC)."""

    hour: datetime
    lane: str
    result: CallResult
    calls: int


@dataclass(frozen=True)
class Processing:
    """From receipt to done, of the webhook events done in one hour: how many, median and longest time, s."""

    hour: datetime
    events: int
    median_s: float
    longest_s: float


def last_hours(moment: datetime) -> tuple[datetime, ...]:
    """The starts of the last ``HOURS`` hours (UTC), oldest first; the last one is that of ``moment``."""
    newest = moment.replace(minute=0, second=0, microsecond=0)
    return tuple(newest - back * HOUR for back in reversed(range(HOURS)))


def calls_by_hour(connection: Connection, moment: datetime) -> list[Calls]:
    """Count the calls of the last hours by lane and result, without those that may be under way at ``moment``."""
    status = api_calls.c.status
    is_over = or_(api_calls.c.settled_at.is_not(None), api_calls.c.reserved_at < moment - LONGEST_CALL)
    is_answer = or_(status < HTTPStatus.BAD_REQUEST.value, status == HTTPStatus.NOT_FOUND.value)
    result = case(
        (is_answer, CallResult.ANSWERED.value),
        (status < HTTPStatus.INTERNAL_SERVER_ERROR.value, CallResult.REFUSED.value),
        else_=CallResult.UNANSWERED.value,
    )
    hour = _hour(api_calls.c.reserved_at, moment)
    query = (
        select(hour.label("hour"), api_calls.c.lane, result.label("result"), func.count())
        .where(_in_last_hours(api_calls.c.reserved_at, moment), is_over)
        .group_by("hour", api_calls.c.lane, "result")
        .order_by("hour", api_calls.c.lane, "result")
    )
    return [Calls(at, lane, CallResult(of), count) for at, lane, of, count in connection.execute(query)]


def processing_by_hour(connection: Connection, moment: datetime) -> list[Processing]:
    """Measure the webhook events that were done in the last hours; hours without any are left out."""
    finished = webhook_events.c.finished_at
    seconds = cast(extract("epoch", finished - webhook_events.c.received_at), Double)
    query = (
        select(
            _hour(finished, moment).label("hour"),
            func.count(),
            func.percentile_cont(0.5).within_group(seconds),
            func.max(seconds),
        )
        .where(
            webhook_events.c.state == EventState.DONE,
            webhook_events.c.source == EventSource.WEBHOOK,
            _in_last_hours(finished, moment),
        )
        .group_by("hour")
        .order_by("hour")
    )
    # A clock that was set back makes times below zero.
    return [
        Processing(hour, events, max(float(median), 0.0), max(float(longest), 0.0))
        for hour, events, median, longest in connection.execute(query)
    ]


def calls_of(calls: Iterable[Calls], result: CallResult) -> Mapping[datetime, int]:
    """The calls with one result, of all lanes, by hour."""
    by_hour: dict[datetime, int] = {}
    for each in calls:
        if each.result is result:
            by_hour[each.hour] = by_hour.get(each.hour, 0) + each.calls
    return by_hour


def calls_by_lane(calls: Iterable[Calls]) -> Mapping[str, int]:
    """All calls by lane, most first."""
    by_lane: dict[str, int] = {}
    for each in calls:
        by_lane[each.lane] = by_lane.get(each.lane, 0) + each.calls
    return dict(sorted(by_lane.items(), key=lambda item: -item[1]))


def _hour(time: Column[datetime], moment: datetime) -> ColumnElement[datetime]:
    return func.date_bin(HOUR, time, last_hours(moment)[0], type_=UTC_TIME)


def _in_last_hours(time: Column[datetime], moment: datetime) -> ColumnElement[bool]:
    # What is newer was written before the database's clock was set back.
    return and_(time >= last_hours(moment)[0], time <= moment)
