"""The inbox: accepted webhook events, who has claimed them, and what became of them.

::

    received -> launched -> done
                  |-> waiting (not before a time) -> launched
                  |-> dead

A claim raises the event's fence and sets a lease. Whoever holds an older fence is refused, so an event that
was claimed again (its lease had run out) is finished by the newer claim only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.ops_tables import users, webhook_events

RECEIVED = "received"
LAUNCHED = "launched"
WAITING = "waiting"
DONE = "done"
DEAD = "dead"
LEASE = timedelta(minutes=10)
# Strava gives an answer two seconds; what cannot be stored in this time is refused, and it delivers again.
STORE_MILLISECONDS = 1500


class Stored(StrEnum):
    """What became of a delivery."""

    NEW = "new"
    DUPLICATE = "duplicate"
    UNKNOWN_OWNER = "unknown_owner"


@dataclass(frozen=True)
class NewEvent:
    """An event as delivered, checked."""

    event_key: str
    subscription_id: int
    object_type: str
    object_id: int
    aspect_type: str
    owner_id: int
    event_time: datetime
    updates: dict[str, str]
    signed: bool


def _storing() -> Select[Any]:
    """Store what is given and concerns a connected athlete; tells of each such event whether it is new."""
    names = [field.name for field in fields(NewEvent)]
    columns = [column(name, webhook_events.c[name].type) for name in names]
    given = (
        func.jsonb_to_recordset(bindparam("given", type_=JSONB))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )
    known = select(given).where(exists().where(users.c.athlete_id == given.c.owner_id)).cte("known")
    stored = (
        insert_or_skip(webhook_events)
        .from_select(
            [*names, "source", "state"],
            select(*(known.c[name] for name in names), literal("webhook"), literal(RECEIVED)),
        )
        .on_conflict_do_nothing()
        .returning(webhook_events.c.event_key)
        .cte("stored")
    )
    is_new = exists().where(stored.c.event_key == known.c.event_key)
    return select(known.c.event_key, is_new.label("is_new"))


_STORE = _storing()


@dataclass(frozen=True)
class Claim:
    """The right to work on one event, as long as no newer claim exists."""

    event_id: int
    fence: int


@dataclass(frozen=True)
class ClaimedEvent:
    """An event under a claim."""

    claim: Claim
    object_type: str
    object_id: int
    aspect_type: str
    owner_id: int


def store_event(engine: Engine, event: NewEvent) -> Stored:
    """Commit one event to the inbox; see :func:`store_events`."""
    return store_events(engine, [event])[0]


def store_events(engine: Engine, events: Sequence[NewEvent]) -> list[Stored]:
    """Commit events to the inbox, once however often they are delivered; events of strangers are not kept.

    What is returned is on the disk: one statement and one commit for all of them.
    """
    given = [vars(event) | {"event_time": event.event_time.isoformat()} for event in events]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"SET LOCAL statement_timeout = {STORE_MILLISECONDS}; SET LOCAL synchronous_commit = on"
        )
        rows = connection.execute(_STORE, {"given": given})
        stored = {row.event_key: Stored.NEW if row.is_new else Stored.DUPLICATE for row in rows}
    outcomes = []
    for event in events:
        outcomes.append(stored.get(event.event_key, Stored.UNKNOWN_OWNER))
        if outcomes[-1] is Stored.NEW:
            # The same event again, further down.
            stored[event.event_key] = Stored.DUPLICATE
    return outcomes


def claim_events(engine: Engine, limit: int) -> list[ClaimedEvent]:
    """Claim what is due, oldest first; several claimers never get the same event."""
    with engine.begin() as connection:
        due = (
            select(webhook_events.c.id)
            .where(_is_due())
            .order_by(webhook_events.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            # A subquery might be run once per row, and each time lock as many again.
            .cte("due")
        )
        rows = connection.execute(
            update(webhook_events)
            .where(webhook_events.c.id.in_(select(due.c.id)))
            .values(
                state=LAUNCHED,
                fence=webhook_events.c.fence + 1,
                lease_until=func.clock_timestamp() + LEASE,
                not_before=None,
            )
            .returning(webhook_events)
        )
        claimed = [_claimed(row) for row in rows]
    return sorted(claimed, key=lambda event: event.claim.event_id)


def note_run(engine: Engine, claims: Sequence[Claim], run_id: str) -> None:
    """Remember which Dagster run has the events."""
    _change(engine, claims, run_id=run_id)


def give_back(engine: Engine, claims: Sequence[Claim], *, wait: timedelta, reason: str) -> None:
    """Return claims unused; that costs the events no attempt."""
    not_before = func.clock_timestamp() + wait
    _change(engine, claims, state=WAITING, not_before=not_before, lease_until=None, error=reason)


def take_up(connection: Connection, claim: Claim) -> ClaimedEvent | None:
    """The event of a claim that still holds, its lease extended; ``None`` if a newer claim has it, or it is done."""
    row = connection.execute(
        update(webhook_events)
        .where(_holds([claim]))
        .values(lease_until=func.clock_timestamp() + LEASE)
        .returning(webhook_events)
    ).first()
    return None if row is None else _claimed(row)


def finish(engine: Engine, claim: Claim) -> None:
    """The event has taken effect."""
    _change(engine, [claim], state=DONE, finished_at=func.clock_timestamp(), lease_until=None, error=None)


def postpone(engine: Engine, claim: Claim, not_before: datetime, reason: str) -> None:
    """The event waits for something that is no fault of its own."""
    _change(engine, [claim], state=WAITING, not_before=not_before, lease_until=None, error=reason)


def bury(engine: Engine, claim: Claim, reason: str, *, transient: bool) -> None:
    """The event is given up and stays visible as a dead letter."""
    _change(
        engine,
        [claim],
        state=DEAD,
        attempts=webhook_events.c.attempts + 1,
        error_class="transient" if transient else "permanent",
        error=reason,
        finished_at=func.clock_timestamp(),
        lease_until=None,
    )


def _change(engine: Engine, claims: Sequence[Claim], **values: Any) -> None:
    """Change events whose claims still hold; the others belong to someone else by now."""
    with engine.begin() as connection:
        connection.execute(update(webhook_events).where(_holds(claims)).values(**values))


def _holds(claims: Sequence[Claim]) -> ColumnElement[bool]:
    pairs = [(claim.event_id, claim.fence) for claim in claims]
    return and_(tuple_(webhook_events.c.id, webhook_events.c.fence).in_(pairs), webhook_events.c.state == LAUNCHED)


def _is_due() -> ColumnElement[bool]:
    now = func.clock_timestamp()
    return or_(
        webhook_events.c.state == RECEIVED,
        and_(webhook_events.c.state == WAITING, webhook_events.c.not_before <= now),
        and_(webhook_events.c.state == LAUNCHED, webhook_events.c.lease_until <= now),
    )


def _claimed(row: Any) -> ClaimedEvent:
    return ClaimedEvent(
        claim=Claim(row.id, row.fence),
        object_type=row.object_type,
        object_id=row.object_id,
        aspect_type=row.aspect_type,
        owner_id=row.owner_id,
    )
