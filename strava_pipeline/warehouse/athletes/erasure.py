"""Decides that an athlete is erased: deletes tokens and address, drops open events, marks the data for deletion.

That is one short transaction, after which nothing of the athlete is stored any more.
:mod:`strava_pipeline.warehouse.athletes.row_deletion` deletes the data afterwards, in batches. The row in ``ops.users``
stays, without tokens, scopes and address; the athlete can connect again from there once the data are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import stamina
from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, select, update

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.erasures import add_deleted, is_being_erased, mark_for_erasure
from strava_pipeline.warehouse.finished_rows import delete_counted
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete, delete_locks
from strava_pipeline.warehouse.mail.consent import erase_address
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ENDED_STATES, DagsterTask, EventState
from strava_pipeline.warehouse.tokens.token_store import erase_tokens, patient_transaction
from strava_pipeline.warehouse.uploads.links import end_links
from strava_pipeline.warehouse.uploads.rows import end_uploads

DROPPED = "dropped: the athlete has disconnected"
# An erasure and a write can deadlock. An erasure that Postgres aborts is tried again.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class BegunErasure:
    """How many open ``events`` were dropped, and whether the athlete's data are deleted from now on."""

    events: int
    deletes_data: bool


def begin_erasure(engine: Engine, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str) -> BegunErasure:
    """Erase an athlete's tokens and address, drop their open events, mark their data for deletion unless ``keep_data``.

    ``UnknownAthlete`` if the athlete never connected. Writes under way are waited for; later ones are refused. It can
    be repeated, and then marks data that was kept before; a mark that stands already stays, also with ``keep_data``.
    The athlete gets a task (``dagster_task``), by which the partition is deleted and, with the data, the lake's files
    and the runs.
    """

    def begin() -> BegunErasure:
        with patient_transaction(engine) as connection:
            return begin_erasure_within(connection, athlete_id, keep_data=keep_data, actor=actor, cause=cause)

    retrying = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=None, wait_initial=FIRST_WAIT_SECONDS)
    return retrying(DatabaseUnavailable, begin)


def lock_events(connection: Connection, athlete_id: int) -> None:
    """Lock an athlete's open events. Call it before locking the athlete's row: writers of events use that order."""
    connection.execute(
        select(webhook_events.c.id).where(_is_open(athlete_id)).order_by(webhook_events.c.id).with_for_update()
    )


def begin_erasure_within(
    connection: Connection, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str
) -> BegunErasure:
    """Do as :func:`begin_erasure`, within the caller's patient transaction.

    An event that asks for the erasure must be marked done before, in that transaction; else it is dropped.
    """
    lock_events(connection, athlete_id)
    erase_tokens(connection, athlete_id, cause)
    acquire_for_athlete(connection, AthleteLock.IMPORTS, athlete_id)
    # A writer that holds one of the locks has yet to lock the athlete's row, and is refused then.
    delete_locks(connection, athlete_id)
    events = _drop_events(connection, athlete_id)
    deletes_data = not keep_data or is_being_erased(connection, athlete_id)
    if deletes_data:
        mark_for_erasure(connection, athlete_id, actor)
        # Runs of theirs would be launched until their turn in the deletion comes.
        ended = connection.execute(delete(imports).where(imports.c.athlete_id == athlete_id))
        if ended.rowcount:
            # Otherwise this may be a repetition, which need not wait for a batch under way.
            add_deleted(connection, athlete_id, ended.rowcount)
    task = DagsterTask.ERASE if deletes_data else DagsterTask.UNREGISTER
    connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(dagster_task=task))
    erase_address(connection, athlete_id)
    end_links(connection, athlete_id)
    # Without its row nothing more comes of an upload; its file goes with the erasure, or with the next tidying.
    end_uploads(connection, athlete_id)
    extent = "data to be deleted" if deletes_data else "data kept"
    note_action(
        connection, actor, "disconnect", f"athlete {athlete_id}", detail=f"{cause}; {events} events dropped; {extent}"
    )
    return BegunErasure(events, deletes_data)


def delete_late_events(connection: Connection, athlete_id: int) -> int:
    """Drop an athlete's events that were stored while the decision committed; return how many. All are emptied."""
    dropped = _drop_events(connection, athlete_id)
    connection.execute(update(webhook_events).where(_has_news(athlete_id)).values(updates={}))
    return dropped


def delete_discarded_events(connection: Connection, athlete_id: int, most: int) -> int:
    """Delete at most so many of an athlete's events that an operator discarded, in words that may tell anything.

    Returns how many were deleted. Others are cleared after a time, and discarded ones never.
    """
    discarded = (webhook_events.c.owner_id == athlete_id, webhook_events.c.state == EventState.DISCARDED)
    some = select(webhook_events.c.id).where(*discarded).limit(most).with_for_update()
    ids = list(connection.execute(some).scalars())
    return delete_counted(connection, webhook_events, any_of(webhook_events.c.id, ids))


def empty_events(connection: Connection, athlete_id: int, most: int) -> int:
    """Empty ``updates`` of at most so many of an athlete's events: it may contain titles of activities.

    Returns how many were emptied.
    """
    full = select(webhook_events.c.id).where(_has_news(athlete_id)).limit(most)
    ids = list(connection.execute(full).scalars())
    connection.execute(update(webhook_events).where(any_of(webhook_events.c.id, ids)).values(updates={}))
    return len(ids)


def _is_open(athlete_id: int) -> ColumnElement[bool]:
    return and_(webhook_events.c.owner_id == athlete_id, webhook_events.c.state.not_in(ENDED_STATES))


def _has_news(athlete_id: int) -> ColumnElement[bool]:
    return and_(webhook_events.c.owner_id == athlete_id, webhook_events.c.updates != {})


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
