"""The outbox of alerts: messages are claimed together, and recorded for each way on which they go out.

::

    pending -> sent
       |-> pending (not before a time)
       |-> failed (given up), skipped (this way is not set up)

A claim counts an attempt and hides its rows for :data:`LEASE`, so that two bridges never have the same message. A
message goes out twice only if a process dies between a server's acceptance and the commit that follows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, case, func, literal, select, update

from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.columns import any_of, database_time, has_come
from strava_pipeline.warehouse.states import AlertChange, SendState, Severity

# What happens within this time shares one digest.
COLLECTED = timedelta(seconds=5)
# Longer than a mail and all services take, timeouts included.
LEASE = timedelta(minutes=5)
WAITS = (timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
# A message that is older tells nothing that its reader would not know.
GIVE_UP_AFTER = timedelta(days=1)
MOST_AT_ONCE = 50
_c = alert_messages.c
_WAYS = {"mail": _c.mail_state, "push": _c.push_state}


@dataclass(frozen=True)
class ClaimedMessage:
    """A message that only this process may send now; ``attempt`` counts from 1, times are UTC.

    ``by_mail``, ``by_push``: whether it is still to be sent on that way; ``reached``: the services that have it.
    """

    id: int
    change: AlertChange
    severity: Severity
    subject: str
    body: str
    made_at: datetime
    claimed_at: datetime
    attempt: int
    by_mail: bool
    by_push: bool
    reached: frozenset[str]


def claim_messages(engine: Engine) -> list[ClaimedMessage]:
    """Claim all messages that are due, in their order, once one of them is due for :data:`COLLECTED`; at most 50."""
    due = select(_c.id).where(*_due(database_time()))
    is_ripe = select(_c.id).where(*_due(database_time() - COLLECTED)).exists()
    chosen = due.where(is_ripe).order_by(_c.id).limit(MOST_AT_ONCE).with_for_update(skip_locked=True).cte("chosen")
    claiming = (
        update(alert_messages)
        .where(_c.id == chosen.c.id)
        .values(attempts=_c.attempts + 1, next_try_at=database_time() + LEASE)
        .returning(alert_messages, database_time().label("claimed_at"))
    )
    with engine.begin() as connection:
        rows = connection.execute(claiming).all()
    return sorted((_claimed(row) for row in rows), key=lambda message: message.id)


def record_mail(engine: Engine, claimed: Sequence[ClaimedMessage], state: SendState, reason: str) -> None:
    """Record what became of the mail about claimed messages; PENDING leaves them to the next try."""
    _record(engine, claimed, "mail", state, reason)


def record_push(
    engine: Engine, claimed: Sequence[ClaimedMessage], state: SendState, reason: str, reached: frozenset[str]
) -> None:
    """Record what became of the push, and which services have the messages."""
    _record(engine, claimed, "push", state, reason, pushed_to=sorted(reached))


def postpone(engine: Engine, claimed: Sequence[ClaimedMessage]) -> None:
    """Try again later what is still pending of claimed messages; the pause grows. After a day it is given up."""
    for message in claimed:
        wait = WAITS[min(message.attempt, len(WAITS)) - 1]
        with engine.begin() as connection:
            if message.claimed_at + wait > message.made_at + GIVE_UP_AFTER:
                _give_up(connection, message)
            else:
                _change(connection, [message], next_try_at=database_time() + wait)


def _record(
    engine: Engine, claimed: Sequence[ClaimedMessage], way: str, state: SendState, reason: str, **more: Any
) -> None:
    (other,) = (column for name, column in _WAYS.items() if name != way)
    values = {f"{way}_state": state, f"{way}_error": reason or None, **more}
    if state is not SendState.PENDING:
        is_over = other != SendState.PENDING
        values |= {
            "finished_at": case((is_over, database_time()), else_=_c.finished_at),
            "next_try_at": case((is_over, None), else_=_c.next_try_at),
        }
    with engine.begin() as connection:
        _change(connection, claimed, **values)


def _give_up(connection: Connection, message: ClaimedMessage) -> None:
    values: dict[str, Any] = {"finished_at": database_time(), "next_try_at": None}
    for way, state in _WAYS.items():
        error = _c[f"{way}_error"]
        is_pending = state == SendState.PENDING
        given_up = func.concat(f"given up after {message.attempt} tries: ", error)
        values[f"{way}_state"] = case((is_pending, literal(SendState.FAILED.value)), else_=state)
        values[f"{way}_error"] = case((is_pending, given_up), else_=error)
    _change(connection, [message], **values)


def _change(connection: Connection, claimed: Sequence[ClaimedMessage], **values: Any) -> None:
    """Change messages, but for those that were claimed again since, or are finished."""
    by_attempt: dict[int, list[int]] = {}
    for message in claimed:
        by_attempt.setdefault(message.attempt, []).append(message.id)
    for attempt, ids in by_attempt.items():
        is_mine = (any_of(_c.id, ids), _c.attempts == attempt, _c.finished_at.is_(None))
        connection.execute(update(alert_messages).where(*is_mine).values(**values))


def _due(moment: Any) -> tuple[Any, ...]:
    since = func.coalesce(_c.next_try_at, _c.made_at)
    return (_c.finished_at.is_(None), has_come(since, moment, max(LEASE, *WAITS)))


def _claimed(row: Any) -> ClaimedMessage:
    return ClaimedMessage(
        row.id,
        AlertChange(row.change),
        Severity(row.severity),
        row.subject,
        row.body,
        row.made_at,
        row.claimed_at,
        row.attempts,
        row.mail_state == SendState.PENDING,
        row.push_state == SendState.PENDING,
        frozenset(row.pushed_to),
    )
