"""The queue of mails to athletes, who are told or asked something: one row each, claimed to be sent.

::

    pending -> sent
       |-> pending (not before a time)
       |-> failed, skipped (with the reason)

A claim counts an attempt and hides the row for :data:`LEASE`; only the attempt that was counted last may record a
result. A mail goes out twice only if a process dies between the mail server's acceptance and the commit of ``sent``;
both then have the same Message-ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, ScalarSelect, func, literal, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.log_context import LogIds
from strava_pipeline.warehouse.restored import are_calls_held
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import MailKind, MailState

# Longer than composing and sending one mail takes, timeouts included.
LEASE = timedelta(minutes=10)
# The wait after each failed try; the last wait repeats as long as the mail is worth sending.
WAITS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))


@dataclass(frozen=True)
class ClaimedMail:
    """A mail that only this process may send now; ``attempt`` counts from 1, times are UTC.

    ``activity_id`` is ``None`` but for a ride summary, ``import_id`` but for a history. ``event_ids``: the events that
    told of its activity's creation, as long as they are kept.
    """

    id: int
    kind: MailKind
    activity_id: int | None
    athlete_id: int
    attempt: int
    created_at: datetime
    claimed_at: datetime
    event_ids: tuple[int, ...] = ()
    import_id: int | None = None

    @property
    def log_ids(self) -> LogIds:
        """The ids for log lines about the mail."""
        return {"event_id": self.event_ids or None, "athlete_id": self.athlete_id, "activity_id": self.activity_id}


def enqueue_ride_mail(connection: Connection, fence: int) -> bool:
    """Queue the mail about a claim's activity; return False if the activity gets none, or it was queued before.

    Only an activity gets a mail whose creation an event told, be the event Strava's or upkeep's. Call it in the
    transaction that marks the events done, so that no mail is lost or queued twice.
    """
    event = webhook_events.c
    new = select(
        event.object_id,
        literal(MailKind.RIDE_SUMMARY.value),
        event.owner_id,
        literal(MailState.PENDING.value),
        database_time(),
    )
    wanted = new.where(event.fence == fence, event.object_type == "activity", event.aspect_type == "create").limit(1)
    columns = ["activity_id", "kind", "athlete_id", "state", "next_try_at"]
    statement = insert_or_skip(notifications).from_select(columns, wanted).on_conflict_do_nothing()
    return connection.execute(statement.returning(notifications.c.activity_id)).first() is not None


def enqueue_mail_of_file(connection: Connection, activity_id: int, max_age: timedelta) -> bool:
    """Queue the mail about an activity of which a file was handed in; return False if it was queued before.

    None is queued about an activity that ended longer ago than ``max_age``, or is not stored any more.
    """
    activity = activities.c
    ended_at = activity.start_date + func.make_interval(0, 0, 0, 0, 0, 0, func.coalesce(activity.elapsed_time, 0))
    new = select(
        activity.id,
        literal(MailKind.RIDE_SUMMARY.value),
        activity.athlete_id,
        literal(MailState.PENDING.value),
        database_time(),
    )
    wanted = new.where(activity.id == activity_id, ended_at >= database_time() - max_age)
    columns = ["activity_id", "kind", "athlete_id", "state", "next_try_at"]
    statement = insert_or_skip(notifications).from_select(columns, wanted).on_conflict_do_nothing()
    return connection.execute(statement.returning(notifications.c.activity_id)).first() is not None


def queue_for_athlete(connection: Connection, athlete_id: int, kind: MailKind) -> None:
    """Queue a mail that asks an athlete for something; does nothing while such a mail is pending."""
    connection.execute(
        insert_or_skip(notifications)
        .values(kind=kind, athlete_id=athlete_id, state=MailState.PENDING, next_try_at=database_time())
        .on_conflict_do_nothing()
    )


def skip_pending(connection: Connection, athlete_id: int, kind: MailKind, reason: str) -> None:
    """Skip an athlete's pending mail of a kind that asks for something, if there is one."""
    connection.execute(
        update(notifications)
        .where(
            notifications.c.athlete_id == athlete_id,
            notifications.c.kind == kind,
            notifications.c.state == MailState.PENDING,
        )
        .values(state=MailState.SKIPPED, reason=reason, next_try_at=None, finished_at=database_time())
    )


def skip_all_pending(connection: Connection, reason: str) -> int:
    """Skip all mails that are pending; return how many."""
    skipped = (
        update(notifications)
        .where(notifications.c.state == MailState.PENDING)
        .values(state=MailState.SKIPPED, reason=reason, next_try_at=None, finished_at=database_time())
    )
    return connection.execute(skipped).rowcount


def any_due(engine: Engine, since: timedelta = timedelta()) -> bool:
    """Whether a mail is due, and has been for so long; none is while a restored database is not checked."""
    with engine.connect() as connection:
        if are_calls_held(connection):
            return False
        return connection.execute(select(notifications.c.id).where(*_due(since)).limit(1)).first() is not None


def claim_next(engine: Engine) -> ClaimedMail | None:
    """Claim the mail that has been due for longest, ride summaries first; ``None`` if no mail is due.

    None is while a restored database is not checked: mails that were sent after the backup seem to be pending.
    """
    due = (
        select(notifications.c.id)
        .where(*_due())
        # Many mails that ask for confirmation must not delay ride summaries.
        .order_by(notifications.c.kind == MailKind.CONFIRMATION, notifications.c.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    with engine.begin() as connection:
        if are_calls_held(connection):
            return None
        row = connection.execute(
            update(notifications)
            .where(notifications.c.id == due.c.id)
            .values(attempts=notifications.c.attempts + 1, next_try_at=database_time() + LEASE)
            .returning(notifications, database_time().label("claimed_at"), _told_by().label("event_ids"))
        ).first()
    if row is None:
        return None
    return ClaimedMail(
        row.id,
        MailKind(row.kind),
        row.activity_id,
        row.athlete_id,
        row.attempts,
        row.created_at,
        row.claimed_at,
        tuple(row.event_ids or ()),
        row.import_id,
    )


def record_result(engine: Engine, claimed: ClaimedMail, state: MailState, reason: str | None = None) -> None:
    """Record that a claimed mail is ``sent``, ``failed`` or ``skipped``, for good."""
    _change(engine, claimed, state=state, reason=reason, next_try_at=None, finished_at=database_time())


def postpone(engine: Engine, claimed: ClaimedMail, reason: str, *, give_up_after: timedelta) -> None:
    """Try a claimed mail again later; record it as failed if that is longer than ``give_up_after`` since it was queued.

    The pause grows with each attempt.
    """
    wait = WAITS[min(claimed.attempt, len(WAITS)) - 1]
    if claimed.claimed_at + wait > claimed.created_at + give_up_after:
        record_result(engine, claimed, MailState.FAILED, f"given up after {claimed.attempt} tries: {reason}")
    else:
        _change(engine, claimed, reason=reason, next_try_at=database_time() + wait)


def _told_by() -> ScalarSelect[list[int]]:
    """The events that told of the creation of a mail's activity."""
    event = webhook_events.c
    return (
        select(func.array_agg(aggregate_order_by(event.id, event.id)))
        .where(
            event.owner_id == notifications.c.athlete_id,
            event.object_id == notifications.c.activity_id,
            event.object_type == "activity",
            event.aspect_type == "create",
        )
        .scalar_subquery()
    )


def _due(since: timedelta = timedelta()) -> tuple[Any, ...]:
    return (
        notifications.c.state == MailState.PENDING,
        has_come(notifications.c.next_try_at, database_time() - since, max(LEASE, *WAITS) + since),
    )


def _change(engine: Engine, claimed: ClaimedMail, **values: Any) -> None:
    """Change a mail, unless it was claimed again since."""
    with engine.begin() as connection:
        connection.execute(
            update(notifications)
            .where(
                notifications.c.id == claimed.id,
                notifications.c.state == MailState.PENDING,
                notifications.c.attempts == claimed.attempt,
            )
            .values(**values)
        )
