"""An athlete goes: tokens erased, pending events dropped, data deleted or kept, all in one transaction.

The row in ``ops.users`` stays, without tokens, scopes and address, as the sign that nothing of the athlete may be
stored; connecting again starts from there. Tables are found in the database itself, so that a new one is emptied, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import stamina
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    TableClause,
    and_,
    column,
    delete,
    exists,
    func,
    inspect,
    select,
    table,
    update,
)

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.locks import delete_locks
from strava_pipeline.warehouse.mail.consent import erase_address
from strava_pipeline.warehouse.schema import ops_tables, tables
from strava_pipeline.warehouse.schema.ops_tables import users, webhook_events
from strava_pipeline.warehouse.states import DagsterTask, EventState
from strava_pipeline.warehouse.tokens.token_store import erase_tokens, patient_transaction

# What Dagster has yet to be told: whether the files in the lake go, or the partition alone.
FINAL_STATES = (EventState.DONE, EventState.DISCARDED)
DROPPED = "dropped: the athlete has disconnected"
# Rows about an athlete that hold no data of theirs: the count of calls, who did what, and who came by which link. Locks
# go by themselves.
KEPT_OPS_TABLES = frozenset(
    {"users", "token_audit", "token_journal", "api_calls", "confirmation_mails", "locks", "invites"}
)
# An erasure and a write can block each other; the one that Postgres ends comes again.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Erased:
    """What went: pending events dropped, rows deleted (0 when the data is kept)."""

    events: int
    rows: int


def disconnect_and_erase(engine: Engine, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str) -> Erased:
    """Erase an athlete's tokens, drop their events, delete their data unless ``keep_data``. ``UnknownAthlete``.

    A write under way is waited for and its rows go as well; none gets through afterwards. Doing it again is harmless,
    and deletes what was kept before. Dagster has yet to lose the athlete's partition (``dagster_task``).
    """

    def erase() -> Erased:
        with patient_transaction(engine) as connection:
            return erase_athlete(connection, athlete_id, keep_data=keep_data, actor=actor, cause=cause)

    retrying = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=None, wait_initial=FIRST_WAIT_SECONDS)
    return retrying(DatabaseUnavailable, erase)


def lock_events(connection: Connection, athlete_id: int) -> None:
    """Whoever writes data for an event holds the event first, and the athlete's row after it."""
    connection.execute(
        select(webhook_events.c.id).where(_is_open(athlete_id)).order_by(webhook_events.c.id).with_for_update()
    )


def erase_athlete(connection: Connection, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str) -> Erased:
    """The same within the caller's patient transaction; an event that asks for it is finished before, in the same."""
    lock_events(connection, athlete_id)
    erase_tokens(connection, athlete_id, cause)
    # Whoever holds one has yet to come by the row that is locked now, and is refused there.
    delete_locks(connection, athlete_id)
    events = _drop_events(connection, athlete_id)
    rows = 0 if keep_data else _delete_data(connection, athlete_id)
    task = DagsterTask.DEPARTURE if keep_data else DagsterTask.REMOVAL
    connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(dagster_task=task))
    erase_address(connection, athlete_id)
    extent = "data kept" if keep_data else f"{rows} rows deleted"
    note_action(
        connection, actor, "forget", f"athlete {athlete_id}", detail=f"{cause}; {events} events dropped; {extent}"
    )
    return Erased(events, rows)


def delete_late_events(connection: Connection, athlete_id: int) -> int:
    """Drop what was being stored while the erasure committed; returns how many events that were."""
    dropped = _drop_events(connection, athlete_id)
    _clear_news(connection, athlete_id)
    return dropped


def _is_open(athlete_id: int) -> ColumnElement[bool]:
    return and_(webhook_events.c.owner_id == athlete_id, webhook_events.c.state.not_in(FINAL_STATES))


def _drop_events(connection: Connection, athlete_id: int) -> int:
    """Events that have not taken effect never will; their rows stay, with the reason."""
    dropped = connection.execute(
        update(webhook_events)
        .where(_is_open(athlete_id))
        .values(
            # Whoever has it claimed is refused from now on.
            state=EventState.DONE,
            error=DROPPED,
            error_class=None,
            not_before=None,
            lease_until=None,
            finished_at=func.clock_timestamp(),
        )
    )
    return dropped.rowcount


def _delete_data(connection: Connection, athlete_id: int) -> int:
    deleted = 0
    for target, theirs in _tables_with_data(connection, athlete_id):
        deleted += connection.execute(delete(target).where(theirs)).rowcount
    _delete_segments_of_nobody(connection)
    _clear_news(connection, athlete_id)
    return deleted


def _delete_segments_of_nobody(connection: Connection) -> None:
    """Segments have no owner; one that only this athlete has ridden tells where they live."""
    ridden = exists().where(tables.segment_efforts.c.segment_id == tables.segments.c.id)
    connection.execute(delete(tables.segments).where(~ridden))


def _clear_news(connection: Connection, athlete_id: int) -> None:
    """What an event says has changed may be a title."""
    connection.execute(update(webhook_events).where(webhook_events.c.owner_id == athlete_id).values(updates={}))


def _tables_with_data(connection: Connection, athlete_id: int) -> Iterator[tuple[TableClause, ColumnElement[bool]]]:
    """Every table with rows of one athlete, those that hang on an activity first, and which rows these are."""
    inspector = inspect(connection)
    theirs = select(tables.activities.c.id).where(tables.activities.c.athlete_id == athlete_id)
    owned = []
    for schema, skipped in ((tables.SCHEMA, frozenset[str]()), (ops_tables.SCHEMA, KEPT_OPS_TABLES)):
        for name in sorted(set(inspector.get_table_names(schema)) - skipped):
            names = {found["name"] for found in inspector.get_columns(name, schema)}
            if "athlete_id" in names:
                owned.append((table(name, schema=schema), column("athlete_id") == athlete_id))
            elif "activity_id" in names:
                yield table(name, schema=schema), column("activity_id").in_(theirs)
    yield from owned
    yield tables.athletes, tables.athletes.c.id == athlete_id
