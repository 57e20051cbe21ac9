"""Claims: the right to bring one object up to date, with all that is pending for it.

A claim takes every pending event of an object, numbers them with its fence, and sets a lease; while the lease runs
nobody else gets the object, and what arrives meanwhile waits for the next claim. Fences come from one sequence. Who
holds an older one is refused: the lock that proves a claim is taken in the transaction that writes the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import (
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
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox import dead_letters
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.schema.ops_tables import webhook_claims, webhook_events
from strava_pipeline.warehouse.states import UNCLAIMED_STATES, ErrorClass, EventState, WaitingFor

# Until a run begins to work, it may wait in Dagster's queue; the dispatcher asks for it and extends.
LAUNCH_LEASE = timedelta(seconds=60)
# While a run works it extends its leases; one that died is noticed after this time.
WORK_LEASE = timedelta(seconds=60)
# From so many lost runs on an object gets runs of its own: the fault may be that of another one in the same run.
ALONE_AFTER_LOST_RUNS = 3
# One that takes down whatever works on it must not do so for ever.
MOST_LOST_RUNS = 10
# What is tried again has failed before, and there may be thousands of it: with this many objects under way it waits, so
# that news meet no queue of runs. No exact number: each claim becomes a run, which should have more to do than one.
MANY_UNDER_WAY = 75

# By how much Strava's clock, to the second, and the database's may differ.
CLOCKS_DIFFER = timedelta(seconds=60)

_events = webhook_events.c


@dataclass(frozen=True)
class ClaimedEvent:
    """One of the events under a claim."""

    event_id: int
    aspect_type: str
    event_time: datetime
    received_at: datetime
    updates: dict[str, str]
    signed: bool


@dataclass(frozen=True)
class Claim:
    """An object with all that was pending for it, oldest first; ``fence`` is the claim's number.

    ``lost_runs``: how many runs that worked on it, or were about to, ended without a word.
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
    def event_time(self) -> datetime:
        """When the last of the events happened (UTC, to the second, by Strava's clock)."""
        return max(event.event_time for event in self.events)

    @property
    def received_at(self) -> datetime:
        """When the last of the events arrived (UTC)."""
        return max(event.received_at for event in self.events)

    @property
    def aspect_types(self) -> set[str]:
        """What happened to the object: create, update, delete."""
        return {event.aspect_type for event in self.events}


def has_due_events(engine: Engine) -> bool:
    """Whether there may be something to claim; costs one look."""
    due = select(_events.id).where(_is_due(), ~_is_being_worked_on()).limit(1)
    with autocommit(engine) as connection:
        return connection.execute(due).first() is not None


def claim_objects(engine: Engine, limit: int) -> list[Claim]:
    """Claim up to ``limit`` objects for which something is due, so that nobody else gets them.

    The oldest come first, but after all others those that are only tried again; of these nothing is claimed while
    ``MANY_UNDER_WAY`` objects are worked on.
    """
    with engine.begin() as connection:
        acquire(connection, Lock.CLAIMS)
        tried_again = func.bool_and((_events.state == EventState.WAITING) & (_events.waiting_for == WaitingFor.REPLAY))
        has_room = connection.execute(_under_way()).scalar_one() < MANY_UNDER_WAY
        due = (
            select(_events.object_type, _events.object_id, _events.owner_id)
            .where(_is_due(), ~_is_being_worked_on())
            .group_by(_events.object_type, _events.object_id, _events.owner_id)
            .having(or_(literal(has_room), ~tried_again))
            .order_by(tried_again, func.min(_events.id))
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
    """A run begins: those of its claims that still hold, the leases now in its hands."""
    with engine.begin() as connection:
        rows = connection.execute(
            update(webhook_events)
            .where(lock_in_order(under_fences(fences)))
            .values(run_id=run_id, taken_up_at=func.clock_timestamp(), lease_until=func.clock_timestamp() + WORK_LEASE)
            .returning(webhook_events)
        ).all()
    return _claims(rows)


def refresh_claim(engine: Engine, fence: int) -> Claim | None:
    """A claim right before the work on it, with what has arrived since; ``None`` if it no longer holds."""
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
                taken_up_at=func.coalesce(_events.taken_up_at, func.clock_timestamp()),
                waits=_waits_used(),
                **_under_lease(WORK_LEASE),
            )
            .returning(webhook_events)
        ).all()
    (claim,) = _claims(rows)
    return claim


def extend_leases(engine: Engine, run_id: str) -> None:
    """The run is at work: its claims hold for another while. What is being written just now is left alone."""
    begun = (_events.state == EventState.LAUNCHED, _events.taken_up_at.is_not(None))
    with engine.begin() as connection:
        connection.execute(
            update(webhook_events)
            .where(lock_in_order(and_(_events.run_id == run_id, *begun), skip_locked=True))
            .values(lease_until=func.clock_timestamp() + WORK_LEASE)
        )


def check_fence(connection: Connection, fence: int) -> None:
    """``FencedOut`` if the claim no longer holds; if it does, it will until the transaction ends."""
    held = select(_events.id).where(under_fences([fence])).order_by(_events.id).with_for_update()
    if connection.execute(held).first() is None:
        raise FencedOut(f"claim {fence} has been overtaken by a newer one: nothing was written")


def mark_done(connection: Connection, fence: int) -> None:
    """The claim's events have taken effect, in this transaction; ``FencedOut`` if the claim no longer holds."""
    done = connection.execute(
        update(webhook_events)
        .where(lock_in_order(under_fences([fence])))
        .values(
            state=EventState.DONE, finished_at=func.clock_timestamp(), lease_until=None, error=None, waiting_for=None
        )
    )
    if not done.rowcount:
        raise FencedOut(f"claim {fence} has been overtaken by a newer one: nothing was written")


def mark_dead(connection: Connection, fence: int, reason: str, *, kind: str, error_class: ErrorClass) -> None:
    """The events are given up and stay visible as dead letters; a transient one is tried again by itself."""
    connection.execute(
        update(webhook_events)
        .where(lock_in_order(under_fences([fence])))
        .values(
            state=EventState.DEAD,
            attempts=_events.attempts + 1,
            error_class=error_class,
            error_kind=kind,
            error=printable(reason),
            finished_at=func.clock_timestamp(),
            redrive_at=dead_letters.next_redrive(error_class),
            lease_until=None,
            waiting_for=None,
        )
    )


def under_fences(fences: Sequence[int]) -> ColumnElement[bool]:
    """The events under these claims, as long as nobody else has them."""
    return and_(_events.fence.in_(fences), _events.state == EventState.LAUNCHED)


def lock_in_order(condition: ColumnElement[bool], *, skip_locked: bool = False) -> ColumnElement[bool]:
    """These rows, locked in the order of their ids: two who change several of them do not block each other for good."""
    rows = select(_events.id).where(condition).order_by(_events.id).with_for_update(skip_locked=skip_locked)
    return _events.id.in_(rows)


def _is_due() -> ColumnElement[bool]:
    now = func.clock_timestamp()
    return or_(
        _events.state == EventState.RECEIVED,
        and_(_events.state == EventState.WAITING, _events.not_before <= now),
        and_(_events.state == EventState.LAUNCHED, _events.lease_until <= now),
    )


def _under_way() -> Select[int]:
    """How many objects are in somebody's hands."""
    leased = and_(_events.state == EventState.LAUNCHED, _events.lease_until > func.clock_timestamp())
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
            other.c.lease_until > func.clock_timestamp(),
        )
        .exists()
    )


def _under_lease(lease: timedelta) -> dict[str, Any]:
    return {
        "state": EventState.LAUNCHED,
        "lease_until": func.clock_timestamp() + lease,
        "not_before": None,
        "waiting_for": None,
    }


def _is_launched() -> ColumnElement[bool]:
    return _events.state == EventState.LAUNCHED


def _waits_used() -> ColumnElement[int]:
    """A wait that newer news of the object cut short does not count: three quick edits must not use up all of them."""
    cut_short = and_(
        _events.state == EventState.WAITING,
        _events.waiting_for.in_((WaitingFor.ACTIVITY, WaitingFor.STREAMS)),
        _events.not_before > func.clock_timestamp(),
    )
    return case((cut_short, func.greatest(_events.waits - 1, 0)), else_=_events.waits)


def _claims(rows: Sequence[Any]) -> list[Claim]:
    claims = []
    for fence, group in groupby(sorted(rows, key=attrgetter("fence", "id")), key=attrgetter("fence")):
        found = list(group)
        events = tuple(
            ClaimedEvent(row.id, row.aspect_type, row.event_time, row.received_at, row.updates, row.signed)
            for row in found
        )
        first, lost = found[0], max(row.lost_runs for row in found)
        claims.append(Claim(fence, first.object_type, first.object_id, first.owner_id, events, lost))
    return sorted(claims, key=lambda claim: claim.events[0].event_id)
