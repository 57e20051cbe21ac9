"""Dead letters: events that were given up. They stay visible until they are replayed or discarded, never deleted.

A transient one is redriven after 15 min, 1 h, 6 h, a day and three days; then it waits for an operator, as a permanent
one does at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, select, true, update

from strava_pipeline.printable import printable
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import ErrorClass, EventState, WaitingFor

REDRIVE_AFTER = (
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=3),
)


@dataclass(frozen=True)
class DeadLetter:
    """One dead or discarded event; times in UTC. ``redrive_at``: when the event is redriven."""

    id: int
    state: EventState
    object_type: str
    object_id: int
    aspect_type: str
    owner_id: int
    event_time: datetime
    received_at: datetime
    died_at: datetime
    source: str
    updates: dict[str, str]
    signed: bool
    error_class: str
    error_kind: str | None
    error: str
    attempts: int
    redrives: int
    redrive_at: datetime | None
    run_id: str | None
    discarded_at: datetime | None
    discarded_by: str | None
    discarded_because: str | None


@dataclass(frozen=True)
class Selection:
    """A choice of dead letters by id, class and least age; ``None`` does not restrict."""

    ids: Collection[int] | None = None
    error_class: ErrorClass | None = None
    older_than: timedelta | None = None

    def matches(self) -> ColumnElement[bool]:
        parts: list[ColumnElement[bool]] = [true()]
        if self.ids is not None:
            parts.append(webhook_events.c.id.in_(self.ids) if self.ids else false())
        if self.error_class is not None:
            parts.append(webhook_events.c.error_class == self.error_class)
        if self.older_than is not None:
            parts.append(webhook_events.c.finished_at <= database_time() - self.older_than)
        return and_(*parts)


EVERY = Selection()


def find_dead_letters(
    connection: Connection, chosen: Selection = EVERY, *, limit: int | None = None
) -> list[DeadLetter]:
    """The dead letters of a selection, oldest first, without discarded ones."""
    query = (
        select(webhook_events)
        .where(webhook_events.c.state == EventState.DEAD, chosen.matches())
        .order_by(webhook_events.c.id)
        .limit(limit)
    )
    return [_letter(row) for row in connection.execute(query)]


def find_dead_letter(connection: Connection, event_id: int) -> DeadLetter | None:
    """The dead or discarded event with this id; ``None`` if there is none."""
    query = select(webhook_events).where(
        webhook_events.c.id == event_id, webhook_events.c.state.in_((EventState.DEAD, EventState.DISCARDED))
    )
    row = connection.execute(query).first()
    return None if row is None else _letter(row)


def replay(connection: Connection, chosen: Selection) -> list[int]:
    """Put dead letters back into the inbox, due at once; returns their ids."""
    found = connection.execute(
        update(webhook_events)
        .where(webhook_events.c.state == EventState.DEAD, chosen.matches())
        # After an operator's replay, waits, lost runs and redrives are counted anew.
        .values(waits=0, lost_runs=0, redrives=0, **_back_in_the_inbox())
        .returning(webhook_events.c.id)
    )
    return sorted(found.scalars())


def discard(connection: Connection, chosen: Selection, *, by: str, because: str) -> list[int]:
    """Give dead letters up for good; the rows stay, with who discarded them and why. Returns their ids."""
    found = connection.execute(
        update(webhook_events)
        .where(webhook_events.c.state == EventState.DEAD, chosen.matches())
        .values(
            state=EventState.DISCARDED,
            redrive_at=None,
            discarded_at=database_time(),
            discarded_by=by,
            discarded_because=printable(because),
        )
        .returning(webhook_events.c.id)
    )
    return sorted(found.scalars())


def redrive_due(connection: Connection) -> list[int]:
    """Redrive the transient dead letters whose time has come; returns their ids."""
    found = connection.execute(
        update(webhook_events)
        .where(
            webhook_events.c.state == EventState.DEAD,
            has_come(webhook_events.c.redrive_at, database_time(), max(REDRIVE_AFTER)),
        )
        .values(
            redrives=webhook_events.c.redrives + 1,
            # An event that was given up for lost runs gets one more run.
            lost_runs=func.greatest(webhook_events.c.lost_runs - 1, 0),
            **_back_in_the_inbox(),
        )
        .returning(webhook_events.c.id)
    )
    return sorted(found.scalars())


def next_redrive(error_class: ErrorClass) -> ColumnElement[Any] | None:
    """When an event that dies now is redriven, as SQL over its row; ``NULL`` after the last redrive or if permanent."""
    if error_class != ErrorClass.TRANSIENT:
        return None
    after = case(dict(enumerate(REDRIVE_AFTER)), value=webhook_events.c.redrives)
    return database_time() + after


def _back_in_the_inbox() -> dict[str, Any]:
    now = database_time()
    return {
        "state": EventState.WAITING,
        "waiting_for": WaitingFor.REPLAY,
        "not_before": now,
        "error_class": None,
        "error_kind": None,
        "finished_at": None,
        "redrive_at": None,
    }


def _letter(row: Any) -> DeadLetter:
    values = row._asdict() | {"state": EventState(row.state), "died_at": row.finished_at}
    return DeadLetter(**{name: values[name] for name in DeadLetter.__dataclass_fields__})
