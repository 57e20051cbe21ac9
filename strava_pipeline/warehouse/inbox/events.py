"""The inbox: accepted events, stored once, kept until they have taken effect and for a while after.

::

    received -> launched -> done
                  |-> waiting (not before a time) -> launched
                  |-> parked (until the athlete connects again) -> received
                  |-> dead -> waiting (replayed, by itself or by an operator)
                       |-> discarded

Who works on them is the subject of :mod:`strava_pipeline.warehouse.inbox.claims`, what they wait for that of
:mod:`strava_pipeline.warehouse.inbox.waits`, what is dead that of
:mod:`strava_pipeline.warehouse.inbox.dead_letters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    column,
    delete,
    exists,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.schema.ops_tables import users, webhook_events
from strava_pipeline.warehouse.states import EventSource, EventState, GrantState


class Stored(StrEnum):
    """What became of a delivery."""

    NEW = "new"
    DUPLICATE = "duplicate"
    UNKNOWN_OWNER = "unknown_owner"


@dataclass(frozen=True)
class NewEvent:
    """An event as delivered, checked. ``source``: webhook, or reconcile when found by comparing."""

    event_key: str
    subscription_id: int
    object_type: str
    object_id: int
    aspect_type: str
    owner_id: int
    event_time: datetime
    updates: dict[str, str]
    signed: bool
    source: EventSource = EventSource.WEBHOOK


def _storing() -> Select[Any]:
    """Store what is given and concerns a connected athlete; tells of each such event whether it is new."""
    names = [field.name for field in fields(NewEvent)]
    columns = [column(name, webhook_events.c[name].type) for name in names]
    given = (
        func.jsonb_to_recordset(bindparam("given", type_=JSONB))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )
    known = (
        select(given)
        .where(exists().where(users.c.athlete_id == given.c.owner_id, users.c.state != GrantState.REVOKED))
        .cte("known")
    )
    stored = (
        insert_or_skip(webhook_events)
        .from_select(
            [*names, "state"],
            select(*(known.c[name] for name in names), literal(EventState.RECEIVED.value)),
        )
        .on_conflict_do_nothing()
        .returning(webhook_events.c.event_key)
        .cte("stored")
    )
    is_new = exists().where(stored.c.event_key == known.c.event_key)
    return select(known.c.event_key, is_new.label("is_new"))


_STORE = _storing()


def store_events(connection: Connection, events: Sequence[NewEvent]) -> list[Stored]:
    """Commit events to the inbox, once however often they are delivered; events of strangers are not kept.

    What is returned is on the disk: one statement by a connection that commits each, for all of them. The caller wakes
    the dispatcher beside it; those of other bridges look now and then.
    """
    given = [vars(event) | {"event_time": event.event_time.isoformat()} for event in events]
    # Nothing is sent for the block's sake: it has a statement that failed leave the connection as it was.
    with connection.begin():
        rows = connection.execute(_STORE, {"given": given})
        stored = {event_key: Stored.NEW if is_new else Stored.DUPLICATE for event_key, is_new in rows}
    outcomes = []
    for event in events:
        outcomes.append(stored.get(event.event_key, Stored.UNKNOWN_OWNER))
        if outcomes[-1] is Stored.NEW:
            # The same event again, further down.
            stored[event.event_key] = Stored.DUPLICATE
    return outcomes


def add_events(connection: Connection, events: Sequence[NewEvent]) -> int:
    """Put events into the inbox that were found, not delivered; returns how many are new.

    Events of one key are one event, whoever found it.
    """
    if not events:
        return 0
    values = [asdict(event) | {"state": EventState.RECEIVED} for event in events]
    added = connection.execute(
        insert_or_skip(webhook_events).values(values).on_conflict_do_nothing().returning(webhook_events.c.id)
    ).all()
    return len(added)


def release_parked(connection: Connection, athlete_id: int) -> int:
    """The athlete has connected again: what waited for that goes on; returns how many events."""
    return connection.execute(
        update(webhook_events)
        .where(webhook_events.c.owner_id == athlete_id, webhook_events.c.state == EventState.PARKED)
        .values(state=EventState.RECEIVED, error=None)
    ).rowcount


def delete_done(connection: Connection, keep: timedelta) -> int:
    """Delete events that took effect longer ago than ``keep``; returns how many. All others stay."""
    old = webhook_events.c.finished_at < func.clock_timestamp() - keep
    return connection.execute(delete(webhook_events).where(webhook_events.c.state == EventState.DONE, old)).rowcount
