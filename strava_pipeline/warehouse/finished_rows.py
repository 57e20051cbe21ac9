"""Adds rows that have ended to the totals of metrics, each once: calls, token operations, events and mails.

A row is marked (``is_counted``) in the transaction that adds it, or added in the one that deletes it. So a total counts
each row once, whatever dies or is deleted in between, and however many processes do it at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    TableClause,
    TextClause,
    and_,
    delete,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)

from strava_pipeline.warehouse.metric_totals import NO_BOUND, SUM, Amounts, Labels, Total, add_to_totals
from strava_pipeline.warehouse.schema.columns import database_time, holds_one_of
from strava_pipeline.warehouse.schema.grant_tables import token_audit
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.states import ENDED_MAIL_STATES, ENDED_STATES, EventState

BATCH = 1000
# A call takes 30 s at most. One without an answer after this time will get none: its process died.
UNANSWERED_AFTER = timedelta(minutes=10)
# Upper bounds of the buckets, s.
CALL_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
EVENT_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)

NO_ANSWER = "no_answer"
OTHER = "other"
_RESULTS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
}
CALL_RESULTS = ("ok", *_RESULTS.values(), "server_error", NO_ANSWER, OTHER)
# As the ledger records them, with ids left out. Others are those that an operator asks for by ``strava-pipeline api``,
# whose paths may be anything, also an athlete's name.
ENDPOINTS = (
    "/athlete",
    "/athlete/zones",
    "/athletes/{id}/stats",
    "/athlete/activities",
    "/activities/{id}",
    "/activities/{id}/streams",
    "/gear/{id}",
    OTHER,
)
# An event that an erasure dropped has no effect.
DROPPED = "dropped"
EVENT_RESULTS = (*ENDED_STATES, DROPPED)


def result_of(status: int | None) -> str:
    """Return the class of a call's HTTP status, one of ``CALL_RESULTS``; ``None``: no answer came."""
    if status is None:
        return NO_ANSWER
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return "ok"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _RESULTS.get(status, OTHER)


@dataclass(frozen=True)
class CountedRows:
    """Rows of one table that are added to totals; ``has_ended`` tells which of those that are not added so far.

    ``columns``: what ``tally`` reads of a row to add it to the amounts.
    """

    table: Table
    has_ended: ColumnElement[bool]
    columns: Sequence[str]
    tally: Callable[[Amounts, Row[Any]], None]

    @property
    def key(self) -> Column[int]:
        return self.table.c.id

    @property
    def is_new(self) -> ColumnElement[bool]:
        """The condition that a row has ended and is not added so far."""
        return and_(~self.table.c.is_counted, self.has_ended)

    @property
    def read(self) -> list[Column[Any]]:
        return [self.table.c[name] for name in self.columns]


def _in_bucket(amounts: Amounts, total: Total, labels: Labels, seconds: float, bounds: Sequence[float]) -> None:
    seconds = max(seconds, 0.0)
    place = bisect_left(bounds, seconds)
    amounts[total, (*labels, str(bounds[place]) if place < len(bounds) else NO_BOUND)] += 1
    amounts[total, (*labels, SUM)] += seconds


def _add_call(amounts: Amounts, call: Row[Any]) -> None:
    endpoint = call.endpoint if call.endpoint in ENDPOINTS else OTHER
    amounts[Total.CALLS, (endpoint, call.lane, result_of(call.status))] += 1
    # Without an answer it tells how long we waited, not how long Strava takes.
    if call.status is not None and call.duration_ms is not None:
        _in_bucket(amounts, Total.CALL_SECONDS, (endpoint,), call.duration_ms / 1000, CALL_BUCKETS)


def _add_operation(amounts: Amounts, done: Row[Any]) -> None:
    amounts[Total.TOKENS, (done.operation, done.outcome)] += 1


def _add_event(amounts: Amounts, event: Row[Any]) -> None:
    took_effect = event.state == EventState.DONE and event.error is None
    result = DROPPED if event.state == EventState.DONE and not took_effect else event.state
    amounts[Total.EVENTS, (event.source, result)] += 1
    if took_effect and event.finished_at is not None:
        for total, since in ((Total.EVENT_SECONDS, event.event_time), (Total.RECEIPT_SECONDS, event.received_at)):
            _in_bucket(amounts, total, (event.source,), (event.finished_at - since).total_seconds(), EVENT_BUCKETS)


def _add_mail(amounts: Amounts, mail: Row[Any]) -> None:
    amounts[Total.MAILS, (mail.kind, mail.state)] += 1


def _as_written(condition: str) -> ColumnElement[bool]:
    """A condition in the words of a partial index: with parameters, a plan that is kept could not use that index."""
    return literal_column(condition, Boolean)


_call = api_calls.c
COUNTED: Final = (
    CountedRows(
        api_calls,
        or_(_call.settled_at.is_not(None), _call.reserved_at < database_time() - UNANSWERED_AFTER),
        ("endpoint", "lane", "status", "duration_ms"),
        _add_call,
    ),
    CountedRows(token_audit, true(), ("operation", "outcome"), _add_operation),
    CountedRows(
        webhook_events,
        _as_written(holds_one_of("state", ENDED_STATES)),
        ("source", "state", "error", "event_time", "received_at", "finished_at"),
        _add_event,
    ),
    CountedRows(notifications, _as_written(holds_one_of("state", ENDED_MAIL_STATES)), ("kind", "state"), _add_mail),
)
_BY_NAME: Mapping[str, CountedRows] = {counted.table.fullname: counted for counted in COUNTED}


def uncounted_tables(connection: Connection) -> list[CountedRows]:
    """Return the tables with rows that have ended and are not in the totals; costs one statement."""
    # The first one by the index; EXISTS may read the table as it lies.
    found = (select(each.key).where(each.is_new).order_by(each.key).limit(1).scalar_subquery() for each in COUNTED)
    first = connection.execute(select(*found)).one()
    return [counted for counted, key in zip(COUNTED, first, strict=True) if key is not None]


def count_batch(connection: Connection, counted: CountedRows, after: int = 0) -> tuple[int, int]:
    """Add at most ``BATCH`` rows to the totals, and mark them; return how many, and the last one's id.

    Rows up to the id ``after`` are passed over, and those that another process adds just now.
    """
    key = counted.key
    batch = (
        select(key)
        .where(counted.is_new, key > after)
        .order_by(key)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .cte("batch")
    )
    marking = update(counted.table).where(key == batch.c.id).values(is_counted=True)
    rows = connection.execute(marking.returning(key, *counted.read)).all()
    _add(connection, counted, rows)
    return len(rows), max((row.id for row in rows), default=after)


def delete_counted(connection: Connection, table: TableClause, condition: ColumnElement[bool] | TextClause) -> int:
    """Delete rows; return how many. Those that have ended and are not in the totals are added in this transaction."""
    counted = _BY_NAME.get(table.fullname)
    if counted is None:
        return connection.execute(delete(table).where(condition)).rowcount
    gone = delete(counted.table).where(condition).returning(counted.is_new.label("is_new"), *counted.read).cte("gone")
    # Nearly all are in the totals, and need not be sent here: one row tells how many are gone.
    total = select(func.count().label("deleted")).select_from(gone).subquery("total")
    rows = connection.execute(select(total.c.deleted, *gone.c).select_from(total.outerjoin(gone, gone.c.is_new))).all()
    _add(connection, counted, [row for row in rows if row.is_new])
    return int(rows[0].deleted)


def _add(connection: Connection, counted: CountedRows, rows: Sequence[Row[Any]]) -> None:
    amounts: Amounts = defaultdict(float)
    for row in rows:
        counted.tally(amounts, row)
    add_to_totals(connection, amounts)
