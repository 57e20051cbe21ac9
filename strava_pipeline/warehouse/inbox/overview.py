"""The inbox at a glance: how many events are in each state, and what events wait for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, case, func, select, union_all

from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import OPEN_STATES, UNCLAIMED_STATES, EventSource, EventState, WaitingFor

DONE_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class WaitingEvents:
    """Events that wait for one thing: how many, and when the first of them goes on (UTC)."""

    waiting_for: str
    events: int
    until: datetime


def waiting_events(connection: Connection) -> list[WaitingEvents]:
    """The events that are not due yet, grouped by what they wait for."""
    query = (
        select(webhook_events.c.waiting_for, func.count(), func.min(webhook_events.c.not_before))
        .where(webhook_events.c.state == EventState.WAITING, webhook_events.c.not_before > database_time())
        .group_by(webhook_events.c.waiting_for)
        .order_by(webhook_events.c.waiting_for)
    )
    return [WaitingEvents(*row) for row in connection.execute(query)]


def inbox_by_state(connection: Connection) -> dict[EventState, int]:
    """The number of events by state, of those done within ``DONE_WITHIN``; states without events are left out."""
    # Each part is in an index of its own: all events of years are not counted.
    parts = (
        webhook_events.c.state.in_(OPEN_STATES),
        webhook_events.c.state.in_((EventState.DEAD, EventState.PARKED)),
        webhook_events.c.state == EventState.DISCARDED,
        and_(
            webhook_events.c.state == EventState.DONE,
            webhook_events.c.finished_at > select(database_time() - DONE_WITHIN).scalar_subquery(),
        ),
    )
    counts = (
        select(webhook_events.c.state, func.count()).where(part).group_by(webhook_events.c.state) for part in parts
    )
    return {EventState(state): count for state, count in connection.execute(union_all(*counts))}


def last_delivery(owner: ColumnElement[int]) -> ScalarSelect[datetime]:
    """When the last event about an athlete was delivered (UTC), as SQL over a row with the athlete's id."""
    return (
        select(webhook_events.c.received_at)
        .where(webhook_events.c.owner_id == owner, webhook_events.c.source == EventSource.WEBHOOK)
        .order_by(webhook_events.c.received_at.desc())
        .limit(1)
        .scalar_subquery()
    )


@dataclass(frozen=True)
class Inbox:
    """Events by state and wait, the arrival of the last event (UTC), and how long the first open one has waited.

    ``by_state``: as of :func:`inbox_by_state`.
    """

    by_state: dict[EventState, int]
    waiting: list[WaitingEvents]
    last_event_at: datetime | None
    lag: timedelta | None

    @property
    def open_count(self) -> int:
        """The number of events that have yet to take effect, without dead and parked ones."""
        return sum(self.by_state.get(state, 0) for state in OPEN_STATES)


def inbox_overview(connection: Connection, moment: datetime) -> Inbox:
    """Read the state of the whole inbox; ``moment``: the database's time (UTC), from which the lag is counted."""
    # Events are numbered as they arrive.
    arrived = select(webhook_events.c.received_at).limit(1)
    last = connection.execute(arrived.order_by(webhook_events.c.id.desc())).scalar()
    is_open = webhook_events.c.state.in_(OPEN_STATES)
    oldest = connection.execute(arrived.where(is_open).order_by(webhook_events.c.id)).scalar()
    return Inbox(inbox_by_state(connection), waiting_events(connection), last, moment - oldest if oldest else None)


def longest_due(connection: Connection) -> timedelta:
    """How long the delivery that is due for the longest time has waited for a run; zero if none is due.

    While Dagster does not take events, their waits for it count as well. What upkeep found, or the operator replayed,
    may wait for its turn, and does not count.
    """
    events, moment = webhook_events.c, database_time()
    waits_for_dagster = func.coalesce(events.waiting_for, "") == WaitingFor.DAGSTER
    began = case((waits_for_dagster, events.received_at), else_=func.coalesce(events.not_before, events.received_at))
    is_due = and_(
        events.state.in_(UNCLAIMED_STATES),
        events.source == EventSource.WEBHOOK,
        func.coalesce(events.waiting_for, "") != WaitingFor.REPLAY,
        began <= moment,
    )
    now, since = connection.execute(select(moment, func.min(began)).where(is_due)).one()
    return now - since if since else timedelta()
