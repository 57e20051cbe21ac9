"""Erases an athlete in one transaction: deletes tokens and address, drops open events, deletes or keeps the data.

The row in ``ops.users`` stays, without tokens, scopes and address. It marks that nothing of the athlete may be stored,
and the athlete can connect again from there. The tables are read from the database's catalog, so a table that a later
version adds is emptied, too.
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
    inspect,
    select,
    table,
    update,
)

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete, delete_locks
from strava_pipeline.warehouse.mail.consent import erase_address
from strava_pipeline.warehouse.schema import ops_tables, tables
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.ops_tables import users, webhook_events
from strava_pipeline.warehouse.states import DagsterTask, EventState
from strava_pipeline.warehouse.tokens.token_store import erase_tokens, patient_transaction

FINAL_STATES = (EventState.DONE, EventState.DISCARDED)
DROPPED = "dropped: the athlete has disconnected"
# Rows that name an athlete, but hold no data of theirs: audits, counts of calls and mails, and who used which
# invitation. ``erase_athlete`` deletes the journal's rows and the locks itself.
KEPT_OPS_TABLES = frozenset(
    {"users", "token_audit", "token_journal", "api_calls", "confirmation_mails", "locks", "invites"}
)
# An erasure and a write can deadlock. An erasure that Postgres aborts is tried again.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Erased:
    """The result of an erasure: numbers of events dropped and of rows deleted (0 when the data is kept)."""

    events: int
    rows: int


def disconnect_and_erase(engine: Engine, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str) -> Erased:
    """Erase an athlete's tokens and address, drop their open events, delete their data unless ``keep_data``.

    ``UnknownAthlete`` if the athlete never connected. The erasure waits for writes under way and deletes their rows,
    too; later writes are refused. It can be repeated, and then deletes data that was kept before. The athlete gets a
    task (``dagster_task``), by which the partition is deleted and, unless ``keep_data``, the lake's files and the runs.
    """

    def erase() -> Erased:
        with patient_transaction(engine) as connection:
            return erase_athlete(connection, athlete_id, keep_data=keep_data, actor=actor, cause=cause)

    retrying = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=None, wait_initial=FIRST_WAIT_SECONDS)
    return retrying(DatabaseUnavailable, erase)


def lock_events(connection: Connection, athlete_id: int) -> None:
    """Lock an athlete's open events. Call it before locking the athlete's row: writers of events use that order."""
    connection.execute(
        select(webhook_events.c.id).where(_is_open(athlete_id)).order_by(webhook_events.c.id).with_for_update()
    )


def erase_athlete(connection: Connection, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str) -> Erased:
    """Do as :func:`disconnect_and_erase`, within the caller's patient transaction.

    An event that asks for the erasure must be marked done before, in that transaction; else it is dropped.
    """
    lock_events(connection, athlete_id)
    erase_tokens(connection, athlete_id, cause)
    acquire_for_athlete(connection, AthleteLock.IMPORTS, athlete_id)
    # A writer that holds one of the locks has yet to lock the athlete's row, and is refused then.
    delete_locks(connection, athlete_id)
    events = _drop_events(connection, athlete_id)
    rows = 0 if keep_data else _delete_data(connection, athlete_id)
    task = DagsterTask.UNREGISTER if keep_data else DagsterTask.ERASE
    connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(dagster_task=task))
    erase_address(connection, athlete_id)
    extent = "data kept" if keep_data else f"{rows} rows deleted"
    note_action(
        connection, actor, "disconnect", f"athlete {athlete_id}", detail=f"{cause}; {events} events dropped; {extent}"
    )
    return Erased(events, rows)


def delete_late_events(connection: Connection, athlete_id: int) -> int:
    """Drop an athlete's events that were stored while the erasure committed; return how many."""
    dropped = _drop_events(connection, athlete_id)
    _clear_news(connection, athlete_id)
    return dropped


def _is_open(athlete_id: int) -> ColumnElement[bool]:
    return and_(webhook_events.c.owner_id == athlete_id, webhook_events.c.state.not_in(FINAL_STATES))


def _drop_events(connection: Connection, athlete_id: int) -> int:
    """Mark an athlete's open events done without effect; the rows stay, with the reason."""
    dropped = connection.execute(
        update(webhook_events)
        .where(_is_open(athlete_id))
        .values(
            # A claim on the event is refused from now on.
            state=EventState.DONE,
            error=DROPPED,
            error_class=None,
            not_before=None,
            lease_until=None,
            finished_at=database_time(),
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
    """Delete segments without efforts: one that only this athlete has ridden may tell where they live."""
    ridden = exists().where(tables.segment_efforts.c.segment_id == tables.segments.c.id)
    connection.execute(delete(tables.segments).where(~ridden))


def _clear_news(connection: Connection, athlete_id: int) -> None:
    """Empty ``updates`` of an athlete's events: it may contain titles of activities."""
    connection.execute(update(webhook_events).where(webhook_events.c.owner_id == athlete_id).values(updates={}))


def _tables_with_data(connection: Connection, athlete_id: int) -> Iterator[tuple[TableClause, ColumnElement[bool]]]:
    """Each table with rows of an athlete, and the condition for these rows.

    Tables that refer to an activity but not to its athlete come first, while the activities are still there.
    """
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
