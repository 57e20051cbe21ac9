"""Stores that events wait, until when and for what; :mod:`strava_pipeline.sync.failed_claims` decides which ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, literal, select, update

from strava_pipeline.printable import printable
from strava_pipeline.warehouse.inbox.claims import LONGEST_WAIT, Claim, lock_in_order, under_fences
from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import EventState, WaitingFor

# Waits for an activity, or its streams, to appear; after the last one the event dies.
APPEAR_AFTER = (timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=45))
# In an outage an event waits as long as it has been in the inbox, within these bounds.
SHORTEST_OUTAGE_WAIT = timedelta(minutes=1)
LONGEST_OUTAGE_WAIT = timedelta(hours=1)

_events = webhook_events.c


def postpone(connection: Connection, fence: int, until: Any, waiting_for: WaitingFor, reason: str) -> None:
    """Let a claim's events wait until a time (UTC, or SQL for one); no attempt or wait is counted."""
    connection.execute(
        update(webhook_events)
        .where(lock_in_order(under_fences([fence])))
        .values(**waiting_values(until, waiting_for, reason))
    )


def wait_out_outage(
    connection: Connection, fence: int, waiting_for: WaitingFor, reason: str, *, at_least_until: datetime | None = None
) -> None:
    """Let a claim's events wait until an outage is over; the longer it lasts, the longer each wait."""
    now = database_time()
    wait = func.least(func.greatest(now - _events.received_at, SHORTEST_OUTAGE_WAIT), LONGEST_OUTAGE_WAIT)
    until = now + wait if at_least_until is None else func.greatest(now + wait, at_least_until)
    postpone(connection, fence, until, waiting_for, reason)


def wait_to_appear(connection: Connection, claim: Claim, waiting_for: WaitingFor, reason: str) -> bool:
    """Let a claim's events wait 5, 15, 45 minutes for the activity, or its streams, to appear.

    False after the last wait; True if they wait, or if the claim no longer holds.
    """
    waits = connection.execute(select(func.max(_events.waits)).where(under_fences([claim.fence]))).scalar_one()
    if waits is None or waits >= len(APPEAR_AFTER):
        return waits is None
    until = database_time() + APPEAR_AFTER[waits]
    connection.execute(
        update(webhook_events)
        .where(lock_in_order(under_fences([claim.fence])))
        .values(waits=waits + 1, **waiting_values(until, waiting_for, reason))
    )
    return True


def waiting_values(until: Any, waiting_for: WaitingFor, reason: str) -> dict[str, Any]:
    """The columns of an event that waits; ``until`` is a time (UTC), or SQL for one.

    After ``LONGEST_WAIT`` it is looked at again in any case: a later time is one that a wrong clock has written.
    """
    until = literal(until, UTC_TIME) if isinstance(until, datetime) else until
    return {
        "state": EventState.WAITING,
        "not_before": func.least(until, database_time() + LONGEST_WAIT),
        "waiting_for": waiting_for,
        "lease_until": None,
        "error": printable(reason),
    }
