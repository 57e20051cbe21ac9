"""Claims: the right to bring one object up to date, with all its pending events.

A claim takes every pending event of an object, numbers them with its fence, and sets a lease. While the lease runs
nobody else gets the object; events that arrive after the work has begun wait for the next claim. Fences come from one
sequence. Writing with an older fence is refused: the events that prove a claim are locked in the transaction that
writes the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    update,
)

from strava_pipeline.errors import FencedOut
from strava_pipeline.log_context import LogIds
from strava_pipeline.printable import printable
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox import dead_letters
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.metric_totals import Total, add_to_totals
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.schema.inbox_tables import webhook_claims, webhook_events
from strava_pipeline.warehouse.states import UNCLAIMED_STATES, ErrorClass, EventSource, EventState, WaitingFor

# A launched run may wait in Dagster's queue; until it begins, the dispatcher asks Dagster and extends the lease.
LAUNCH_LEASE = timedelta(seconds=60)
# A run at work extends its leases; a run that died is noticed after this time.
WORK_LEASE = timedelta(seconds=60)
# The quota of the day is waited for longest.
LONGEST_WAIT = timedelta(days=1)
# After so many lost runs an object gets runs of its own: another object of a shared run may be at fault.
ALONE_AFTER_LOST_RUNS = 3
# After so many lost runs an object's events are given up: it may crash every run that works on it.
MOST_LOST_RUNS = 10
# Replayed events, and those that upkeep found, may be thousands. They wait while this many objects are worked on, so
# that new events meet no queue of runs. The limit is not exact: it is checked once per run, and a run should have more
# than one object.
MANY_UNDER_WAY = 75

# By how much Strava's clock, to the second, and the database's may differ.
CLOCKS_DIFFER = timedelta(seconds=60)

_events = webhook_events.c


@dataclass(frozen=True)
class ClaimedEvent:
    """One of a claim's events; times in UTC."""

    event_id: int
    aspect_type: str
    event_time: datetime
    received_at: datetime
    updates: dict[str, str]
    signed: bool
    source: EventSource


@dataclass(frozen=True)
class Claim:
    """An object with all its pending events, oldest first; ``fence`` is the claim's number.

    ``lost_runs``: how many runs died that worked on the object, or were about to.
    """

    fence: int
    object_type: str
    object_id: int
    athlete_id: int
    events: tuple[ClaimedEvent, ...]
    lost_runs: int = 0

    @property
    def activity_id(self) -> int:
        """The object's id, where the object is an activity."""
        return self.object_id

    @property
    def name(self) -> str:
        """The object, in words."""
        return f"{self.object_type} {self.object_id} of athlete {self.athlete_id}"

    @property
    def log_ids(self) -> LogIds:
        """The ids for log lines about the claim."""
        return {
            "event_id": [event.event_id for event in self.events],
            "athlete_id": self.athlete_id,
            "activity_id": self.object_id if self.object_type == "activity" else None,
            "fence": self.fence,
        }

    @property
    def event_time(self) -> datetime:
        """When the last of the events happened (UTC)."""
        return max(event.event_time for event in self.events)

    @property
    def received_at(self) -> datetime:
        """When the last of the events arrived (UTC)."""
        return max(event.received_at for event in self.events)

    @property
    def aspect_types(self) -> set[str]:
        """What happened to the object: create, update, delete."""
        return {event.aspect_type for event in self.events}

    @property
    def lane(self) -> Lane:
        """The lane of the claim's requests: that of upkeep if nobody but upkeep has put its events into the inbox."""
        found = all(event.source is EventSource.RECONCILE for event in self.events)
        return Lane.RECONCILE if found else Lane.LIVE


def has_due_events(engine: Engine) -> bool:
    """Whether there may be something to claim; costs one query."""
    due = select(_events.id).where(_is_due(), ~_is_being_worked_on()).limit(1)
    with autocommit(engine) as connection:
        return connection.execute(due).first() is not None


def claim_objects(engine: Engine, limit: int) -> list[Claim]:
    """Claim up to ``limit`` objects with due events, so that nobody else gets these objects.

    The oldest come first; then objects with nothing but events that upkeep found; last those with nothing but replayed
    events. Both are left alone while ``MANY_UNDER_WAY`` objects are worked on.
    """
    with engine.begin() as connection:
        acquire(connection, Lock.CLAIMS)
        replayed = func.bool_and((_events.state == EventState.WAITING) & (_events.waiting_for == WaitingFor.REPLAY))
        found = func.bool_and(_events.source == EventSource.RECONCILE)
        has_room = connection.execute(_under_way()).scalar_one() < MANY_UNDER_WAY
        due = (
            select(_events.object_type, _events.object_id, _events.owner_id)
            .where(_is_due(), ~_is_being_worked_on())
            .group_by(_events.object_type, _events.object_id, _events.owner_id)
            .having(or_(literal(has_room), ~(replayed | found)))
            .order_by(replayed, found, func.min(_events.id))
            .limit(limit)
            .subquery("due")
        )
        numbered = select(due, webhook_claims.next_value().label("fence")).cte("numbered").prefix_with("MATERIALIZED")
        taken = (
            select(_events.id, numbered.c.fence)
            .join(
                numbered,
                and_(
                    _events.object_type == numbered.c.object_type,
                    _events.object_id == numbered.c.object_id,
                    _events.owner_id == numbered.c.owner_id,
                ),
            )
            .where(_events.state.in_((*UNCLAIMED_STATES, EventState.LAUNCHED)))
            .with_for_update(skip_locked=True, of=webhook_events)
            .cte("taken")
        )
        rows = connection.execute(
            update(webhook_events)
            .where(_events.id == taken.c.id)
            .values(
                fence=taken.c.fence,
                run_id=None,
                taken_up_at=None,
                waits=_waits_used(),
                lost_runs=_events.lost_runs + case((_events.taken_up_at.is_not(None) & _is_launched(), 1), else_=0),
                **_under_lease(LAUNCH_LEASE),
            )
            .returning(webhook_events)
        ).all()
    return _claims(rows)


def begin_run(engine: Engine, fences: Sequence[int], run_id: str) -> list[Claim]:
    """Take over a run's claims and their leases as it begins; returns the claims that still hold."""
    with engine.begin() as connection:
        rows = connection.execute(
            update(webhook_events)
            .where(lock_in_order(under_fences(fences)))
            .values(run_id=run_id, taken_up_at=database_time(), lease_until=database_time() + WORK_LEASE)
            .returning(webhook_events)
        ).all()
    return _claims(rows)


def refresh_claim(engine: Engine, fence: int) -> Claim | None:
    """Extend a claim right before its work, and add the events that arrived since; ``None`` if it no longer holds."""
    with engine.begin() as connection:
        acquire(connection, Lock.CLAIMS)
        held = select(webhook_events).where(under_fences([fence])).order_by(_events.id).with_for_update()
        first = connection.execute(held).first()
        if first is None:
            return None
        same = and_(
            _events.object_type == first.object_type,
            _events.object_id == first.object_id,
            _events.owner_id == first.owner_id,
        )
        rows = connection.execute(
            update(webhook_events)
            .where(same, or_(under_fences([fence]), _events.state.in_(UNCLAIMED_STATES)))
            .values(
                fence=fence,
                run_id=first.run_id,
                taken_up_at=func.coalesce(_events.taken_up_at, database_time()),
                waits=_waits_used(),
                **_under_lease(WORK_LEASE),
            )
            .returning(webhook_events)
        ).all()
    (claim,) = _claims(rows)
    return claim


def extend_leases(engine: Engine, run_id: str) -> None:
    """Extend the leases of a run at work; events that a transaction is writing just now are left out."""
    begun = (_events.state == EventState.LAUNCHED, _events.taken_up_at.is_not(None))
    with engine.begin() as connection:
        connection.execute(
            update(webhook_events)
            .where(lock_in_order(and_(_events.run_id == run_id, *begun), skip_locked=True))
            .values(lease_until=database_time() + WORK_LEASE)
        )


def check_fence(connection: Connection, fence: int) -> None:
    """Hold a claim until the transaction ends; ``FencedOut`` if the claim no longer holds."""
    held = select(_events.id).where(under_fences([fence])).order_by(_events.id).with_for_update()
    if connection.execute(held).first() is None:
        raise FencedOut(f"claim {fence} has been overtaken by a newer one: nothing was written")


def mark_done(connection: Connection, fence: int) -> None:
    """Mark a claim's events done, in the transaction of their effect; ``FencedOut`` if the claim no longer holds."""
    done = connection.execute(
        update(webhook_events)
        .where(lock_in_order(under_fences([fence])))
        .values(state=EventState.DONE, finished_at=database_time(), lease_until=None, error=None, waiting_for=None)
    )
    if not done.rowcount:
        raise FencedOut(f"claim {fence} has been overtaken by a newer one: nothing was written")


def mark_dead(connection: Connection, fence: int, reason: str, *, kind: str, error_class: ErrorClass) -> None:
    """Give a claim's events up: they stay visible as dead letters; transient ones are redriven."""
    died = connection.execute(
        update(webhook_events)
        .where(lock_in_order(under_fences([fence])))
        .values(
            state=EventState.DEAD,
            attempts=_events.attempts + 1,
            error_class=error_class,
            error_kind=kind,
            error=printable(reason),
            finished_at=database_time(),
            redrive_at=dead_letters.next_redrive(error_class),
            lease_until=None,
            waiting_for=None,
        )
    )
    # An event may die several times, so each death is counted as it happens.
    add_to_totals(connection, {(Total.DEAD_LETTERS, (error_class,)): died.rowcount})


def under_fences(fences: Sequence[int]) -> ColumnElement[bool]:
    """Select the events of these claims, as far as the claims still hold."""
    return and_(_events.fence.in_(fences), _events.state == EventState.LAUNCHED)


def lock_in_order(condition: ColumnElement[bool], *, skip_locked: bool = False) -> ColumnElement[bool]:
    """Select these events and lock them in the order of their ids, so that transactions do not deadlock."""
    rows = select(_events.id).where(condition).order_by(_events.id).with_for_update(skip_locked=skip_locked)
    return _events.id.in_(rows)


def is_leased(lease_until: Column[datetime] = _events.lease_until) -> ColumnElement[bool]:
    """Select events whose lease has not ended."""
    return ~has_come(lease_until, database_time(), max(LAUNCH_LEASE, WORK_LEASE))


def _is_due() -> ColumnElement[bool]:
    now = database_time()
    return or_(
        _events.state == EventState.RECEIVED,
        and_(_events.state == EventState.WAITING, has_come(_events.not_before, now, LONGEST_WAIT)),
        and_(_events.state == EventState.LAUNCHED, ~is_leased()),
    )


def _under_way() -> Select[int]:
    """Count the objects under a lease."""
    leased = and_(_events.state == EventState.LAUNCHED, is_leased())
    return select(func.count(_events.fence.distinct())).where(leased)


def _is_being_worked_on() -> ColumnElement[bool]:
    other = webhook_events.alias("other")
    return (
        select(other.c.id)
        .where(
            other.c.object_id == _events.object_id,
            other.c.object_type == _events.object_type,
            other.c.owner_id == _events.owner_id,
            other.c.state == EventState.LAUNCHED,
            is_leased(other.c.lease_until),
        )
        .exists()
    )


def _under_lease(lease: timedelta) -> dict[str, Any]:
    return {
        "state": EventState.LAUNCHED,
        "lease_until": database_time() + lease,
        "not_before": None,
        "waiting_for": None,
    }


def _is_launched() -> ColumnElement[bool]:
    return _events.state == EventState.LAUNCHED


def _waits_used() -> ColumnElement[int]:
    """Count waits, but not one that a newer event cut short: three quick edits must not use up all waits."""
    cut_short = and_(
        _events.state == EventState.WAITING,
        _events.waiting_for.in_((WaitingFor.ACTIVITY, WaitingFor.STREAMS)),
        _events.not_before > database_time(),
    )
    return case((cut_short, func.greatest(_events.waits - 1, 0)), else_=_events.waits)


def _claims(rows: Sequence[Any]) -> list[Claim]:
    claims = []
    for fence, group in groupby(sorted(rows, key=attrgetter("fence", "id")), key=attrgetter("fence")):
        found = list(group)
        events = tuple(
            ClaimedEvent(
                row.id,
                row.aspect_type,
                row.event_time,
                row.received_at,
                row.updates,
                row.signed,
                EventSource(row.source),
            )
            for row in found
        )
        first, lost = found[0], max(row.lost_runs for row in found)
        claims.append(Claim(fence, first.object_type, first.object_id, first.owner_id, events, lost))
    return sorted(claims, key=lambda claim: claim.events[0].event_id)
