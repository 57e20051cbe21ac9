"""The inbox at a glance: how many events are in each state, and what events wait for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.ops_tables import webhook_events
from strava_pipeline.warehouse.states import OPEN_STATES, EventState


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
    """The number of events by state; states without events are left out."""
    query = select(webhook_events.c.state, func.count()).group_by(webhook_events.c.state)
    return {EventState(state): count for state, count in connection.execute(query)}


@dataclass(frozen=True)
class Inbox:
    """Events by state and wait, the arrival of the last event (UTC), and how long the oldest open one has waited."""

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
    arrived = webhook_events.c.received_at
    query = select(func.max(arrived), func.min(arrived).filter(webhook_events.c.state.in_(OPEN_STATES)))
    last, oldest = connection.execute(query).one()
    return Inbox(inbox_by_state(connection), waiting_events(connection), last, moment - oldest if oldest else None)
