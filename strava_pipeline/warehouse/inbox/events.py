"""The inbox: accepted events, stored once, kept until they have taken effect and for a while after.

::

    received -> launched -> done
                  |-> waiting (not before a time) -> launched
                  |-> parked (until the athlete connects again) -> received
                  |-> dead -> waiting (redriven, or replayed by an operator)
                       |-> discarded

Work on events is the subject of :mod:`strava_pipeline.warehouse.inbox.claims`, their waits of
:mod:`strava_pipeline.warehouse.inbox.waits`, dead events of :mod:`strava_pipeline.warehouse.inbox.dead_letters`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    column,
    exists,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import WITHOUT_GRANT, EventSource, EventState


class Stored(StrEnum):
    """The outcome of storing a delivery."""

    NEW = "new"
    DUPLICATE = "duplicate"
    UNKNOWN_OWNER = "unknown_owner"


@dataclass(frozen=True)
class StoredEvent:
    """The outcome of storing a delivery, and the id of the event's row.

    ``event_id`` is ``None`` if no row is kept, or if another bridge is just storing the same delivery.
    """

    outcome: Stored
    event_id: int | None = None


# In the updates of an event that upkeep found: the activity's digest in the listing.
LISTED_DIGEST = "listed_digest"


@dataclass(frozen=True)
class NewEvent:
    """An event whose form was checked. ``source``: webhook if it was delivered, reconcile if found by comparing."""

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

    @property
    def activity_id(self) -> int | None:
        """The object's id, if the object is an activity."""
        return self.object_id if self.object_type == "activity" else None


def _storing() -> Select[Any]:
    """Store the given events of known athletes who are not disconnected; a row for each tells id and novelty."""
    names = [field.name for field in fields(NewEvent)]
    columns = [column(name, webhook_events.c[name].type) for name in names]
    given = (
        func.jsonb_to_recordset(bindparam("given", type_=JSONB))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )
    known = (
        select(given)
        .where(exists().where(users.c.athlete_id == given.c.owner_id, users.c.state.not_in(WITHOUT_GRANT)))
        .cte("known")
    )
    stored = (
        insert_or_skip(webhook_events)
        .from_select(
            [*names, "state"],
            select(*(known.c[name] for name in names), literal(EventState.RECEIVED.value)),
        )
        .on_conflict_do_nothing()
        .returning(webhook_events.c.event_key, webhook_events.c.id)
        .cte("stored")
    )
    stored_before = select(webhook_events.c.id).where(webhook_events.c.event_key == known.c.event_key)
    return select(
        known.c.event_key,
        stored.c.id.is_not(None).label("is_new"),
        # The second is looked up for duplicates only.
        func.coalesce(stored.c.id, stored_before.scalar_subquery()).label("id"),
    ).select_from(known.outerjoin(stored, stored.c.event_key == known.c.event_key))


_STORE = _storing()
_NOT_KEPT = StoredEvent(Stored.UNKNOWN_OWNER)


def store_events(connection: Connection, events: Sequence[NewEvent]) -> list[StoredEvent]:
    """Commit events to the inbox, each once however often it is delivered; returns the outcomes in the events' order.

    Events of unknown or disconnected athletes are not kept. On return the events are on disk: one statement stores all
    of them, on a connection that commits each statement. The caller wakes its own dispatcher; other bridges poll.
    """
    given = [vars(event) | {"event_time": event.event_time.isoformat()} for event in events]
    # The block itself sends nothing to the server; after a failed statement it leaves the connection usable.
    with connection.begin():
        rows = connection.execute(_STORE, {"given": given})
        stored = {key: StoredEvent(Stored.NEW if is_new else Stored.DUPLICATE, id_) for key, is_new, id_ in rows}
    outcomes = []
    for event in events:
        found = stored.get(event.event_key, _NOT_KEPT)
        outcomes.append(found)
        if found.outcome is Stored.NEW:
            # A repetition further down the list.
            stored[event.event_key] = StoredEvent(Stored.DUPLICATE, found.event_id)
    return outcomes


def add_events(connection: Connection, events: Sequence[NewEvent]) -> int:
    """Put events that were found, not delivered, into the inbox; returns how many are new.

    An event whose key is in the inbox already is not added.
    """
    if not events:
        return 0
    values = [asdict(event) | {"state": EventState.RECEIVED} for event in events]
    added = connection.execute(
        insert_or_skip(webhook_events).values(values).on_conflict_do_nothing().returning(webhook_events.c.id)
    ).all()
    return len(added)


def newest_done(connection: Connection, athlete_id: int, activity_ids: Collection[int]) -> dict[int, int]:
    """Return by activity of an athlete the id of its newest event that took effect, or was dropped by an erasure."""
    query = select(webhook_events.c.object_id, func.max(webhook_events.c.id)).where(
        webhook_events.c.owner_id == athlete_id,
        webhook_events.c.object_type == "activity",
        any_of(webhook_events.c.object_id, activity_ids),
        webhook_events.c.state == EventState.DONE,
    )
    return {row[0]: row[1] for row in connection.execute(query.group_by(webhook_events.c.object_id))}


def release_parked(connection: Connection, athlete_id: int) -> int:
    """Put the parked events of an athlete who has connected again back into work; returns how many."""
    return connection.execute(
        update(webhook_events)
        .where(webhook_events.c.owner_id == athlete_id, webhook_events.c.state == EventState.PARKED)
        .values(state=EventState.RECEIVED, error=None)
    ).rowcount
