"""The calls to Strava in ``ops.api_calls``: one row is a call's reservation, its record and its metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from sqlalchemy import ColumnElement, Connection, Update, delete, func, insert, literal, select, true, update

from strava_pipeline.strava.quota.windows import CallOutcome, Lane, window_at
from strava_pipeline.warehouse.schema.columns import UTC_TIME, any_of
from strava_pipeline.warehouse.schema.quota_tables import api_calls

# The day's reserve is learned from the live calls of this many days, counted in this many equal parts of a day.
HISTORY_DAYS = 14
DAY_PARTS = 96


def record(
    connection: Connection, lane: Lane, endpoint: str, athlete_id: int | None, moment: datetime, booking: Update
) -> int:
    """Insert a call that is about to be sent, together with its ``booking`` in one statement; return the call's id."""
    row = insert(api_calls).values(lane=lane, endpoint=endpoint, athlete_id=athlete_id, reserved_at=moment)
    row = row.add_cte(booking.cte("booking"))
    call_id: int = connection.execute(row.returning(api_calls.c.id)).scalar_one()
    return call_id


def close(connection: Connection, call_id: int, outcome: CallOutcome, moment: datetime) -> bool:
    """Record how a call ended; return ``False`` if that was recorded before."""
    done = connection.execute(
        update(api_calls)
        .where(api_calls.c.id == call_id, api_calls.c.settled_at.is_(None))
        .values(settled_at=moment, status=outcome.status, duration_ms=outcome.duration_ms)
    )
    return done.rowcount == 1


def delete_call(connection: Connection, call_id: int) -> bool:
    """Delete a call that was never sent; return ``False`` if it has ended or is not stored."""
    unsent = delete(api_calls).where(api_calls.c.id == call_id, api_calls.c.settled_at.is_(None))
    return connection.execute(unsent).rowcount == 1


def one_is_under_way(connection: Connection, moment: datetime, longest: timedelta) -> bool:
    """Whether a call may still be waiting for its answer, if calls take at most ``longest``."""
    since = api_calls.c.reserved_at.between(moment - longest, moment)
    return (
        connection.execute(select(api_calls.c.id).where(since, api_calls.c.settled_at.is_(None)).limit(1)).first()
        is not None
    )


# Live calls by part of a day, a row for each day, oldest first.
Days = list[list[int]]


def live_calls(connection: Connection, athlete_id: int | None, day_s: int, now: datetime) -> Days:
    """Count the live calls in each of ``DAY_PARTS`` parts of the last days, of one athlete, or (``None``) of all.

    Returns a row per day, oldest first, at most ``HISTORY_DAYS``, without today; none on the first day of the ledger.
    ``day_s``: length of a day in s, which is shorter in a scaled system.
    """
    if athlete_id is not None:
        return live_calls_by_athlete(connection, [athlete_id], day_s, now)[athlete_id]
    return _live_calls(connection, literal(0), true(), day_s, now)[0]


def live_calls_by_athlete(
    connection: Connection, athlete_ids: Collection[int], day_s: int, now: datetime
) -> Mapping[int, Days]:
    """Count for each of these athletes what :func:`live_calls` counts for one."""
    whose = api_calls.c.athlete_id
    return _live_calls(connection, whose, any_of(whose, athlete_ids), day_s, now)


def _live_calls(
    connection: Connection, whose: ColumnElement[int], wanted: ColumnElement[bool], day_s: int, now: datetime
) -> defaultdict[int, Days]:
    """The days by athlete, or by whatever ``whose`` tells."""
    today = window_at(now, day_s).starts_at
    began = connection.execute(select(func.min(api_calls.c.reserved_at))).scalar()
    if began is None:
        return defaultdict(list)
    days = min(HISTORY_DAYS, (today - window_at(began, day_s).starts_at) // timedelta(seconds=day_s))
    first = today - timedelta(seconds=days * day_s)
    length = timedelta(seconds=day_s) / DAY_PARTS
    part = func.date_bin(length, api_calls.c.reserved_at, first, type_=UTC_TIME).label("part")
    found = connection.execute(
        select(whose.label("whose"), part, func.count())
        .where(
            api_calls.c.lane == Lane.LIVE,
            api_calls.c.reserved_at >= first,
            api_calls.c.reserved_at < today,
            wanted,
        )
        .group_by("whose", part)
    )
    calls: defaultdict[int, Days] = defaultdict(lambda: [[0] * DAY_PARTS for _ in range(days)])
    for key, starts_at, count in found:
        day, place = divmod(round((starts_at - first) / length), DAY_PARTS)
        calls[key][day][place] = count
    return calls


@dataclass(frozen=True)
class CallCount:
    """The number of calls in the ledger, and of those that Strava refused with a 429."""

    sent: int
    refused: int


def count_calls(connection: Connection) -> CallCount:
    """Count the calls in the ledger; calls that were never sent, or that retention deleted, are not in it."""
    refused = func.count().filter(api_calls.c.status == HTTPStatus.TOO_MANY_REQUESTS.value)
    return CallCount(*connection.execute(select(func.count(), refused).select_from(api_calls)).one())


def statuses_since(connection: Connection, since: datetime) -> dict[str, int]:
    """Count the calls booked since then by HTTP status; ``none``: no answer, or none yet."""
    rows = connection.execute(
        select(api_calls.c.status, func.count())
        .where(api_calls.c.reserved_at >= since)
        .group_by(api_calls.c.status)
        .order_by(api_calls.c.status)
    )
    return {"none" if status is None else str(status): count for status, count in rows}
