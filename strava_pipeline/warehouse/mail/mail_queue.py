"""Mails about new activities, and those that confirm addresses: one row each, claimed before it is sent.

::

    pending -> sent
       |-> pending (not before a time)
       |-> failed, skipped (with the reason)

A claim counts the attempt and hides the row for :data:`LEASE`; only the attempt that was counted last may say what
became of it. A process that dies between the mail server's yes and the commit of ``sent`` is the one case in which
a mail goes out twice; both then carry the same Message-ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.mail.consent import CONFIRM_WITHIN
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.ops_tables import webhook_events
from strava_pipeline.warehouse.states import EventSource, MailKind, MailState

# Longer than composing and sending one mail takes, timeouts included.
LEASE = timedelta(minutes=10)
# After each failed try; the last one repeats for as long as the mail is worth sending.
WAITS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
# No mail about what happened longer ago than this.
WORTH_SENDING = {MailKind.RIDE_SUMMARY: timedelta(days=1), MailKind.CONFIRMATION: CONFIRM_WITHIN}


@dataclass(frozen=True)
class ClaimedMail:
    """A mail that this process, and no other, is to send now; ``attempt`` counts from 1.

    ``activity_id``: of a ride summary, ``None`` for a mail that confirms an address.
    """

    id: int
    activity_id: int | None
    athlete_id: int
    attempt: int
    created_at: datetime
    claimed_at: datetime


def enqueue_ride_mail(connection: Connection, fence: int) -> bool:
    """Note that the activity under a claim deserves a mail; False if it does not, or was noted before.

    Only a create that Strava delivered counts, not what reconciling found. In the transaction that marks the events
    done, a mail is neither lost nor announced twice.
    """
    event = webhook_events.c
    new = select(
        event.object_id,
        literal(MailKind.RIDE_SUMMARY.value),
        event.owner_id,
        literal(MailState.PENDING.value),
        func.clock_timestamp(),
    )
    wanted = new.where(
        event.fence == fence,
        event.object_type == "activity",
        event.aspect_type == "create",
        event.source == EventSource.WEBHOOK,
    ).limit(1)
    columns = ["activity_id", "kind", "athlete_id", "state", "next_try_at"]
    statement = insert_or_skip(notifications).from_select(columns, wanted).on_conflict_do_nothing()
    return connection.execute(statement.returning(notifications.c.activity_id)).first() is not None


def any_due(engine: Engine) -> bool:
    """Whether a mail waits to be sent now."""
    with engine.connect() as connection:
        return connection.execute(select(notifications.c.id).where(*_due()).limit(1)).first() is not None


def claim_next(engine: Engine) -> ClaimedMail | None:
    """Claim the mail that is due for longest, summaries before all others; ``None`` if none is."""
    due = (
        select(notifications.c.id)
        .where(*_due())
        # Many addresses to be asked keep no summary waiting.
        .order_by(notifications.c.kind == MailKind.CONFIRMATION, notifications.c.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    with engine.begin() as connection:
        row = connection.execute(
            update(notifications)
            .where(notifications.c.id == due.c.id)
            .values(attempts=notifications.c.attempts + 1, next_try_at=func.clock_timestamp() + LEASE)
            .returning(notifications, func.clock_timestamp().label("claimed_at"))
        ).first()
    if row is None:
        return None
    return ClaimedMail(row.id, row.activity_id, row.athlete_id, row.attempts, row.created_at, row.claimed_at)


def record_result(engine: Engine, claimed: ClaimedMail, state: MailState, reason: str | None = None) -> None:
    """A claimed mail is ``sent``, ``failed`` or ``skipped``, for good."""
    _change(engine, claimed, state=state, reason=reason, next_try_at=None, finished_at=func.clock_timestamp())


def postpone(engine: Engine, claimed: ClaimedMail, reason: str) -> None:
    """A claimed mail could not be sent now: tried again later, or failed when that would be too late."""
    wait = WAITS[min(claimed.attempt, len(WAITS)) - 1]
    kind = MailKind.CONFIRMATION if claimed.activity_id is None else MailKind.RIDE_SUMMARY
    if claimed.claimed_at + wait > claimed.created_at + WORTH_SENDING[kind]:
        record_result(engine, claimed, MailState.FAILED, f"given up after {claimed.attempt} tries: {reason}")
    else:
        _change(engine, claimed, reason=reason, next_try_at=func.clock_timestamp() + wait)


def delete_finished_before(connection: Connection, moment: datetime) -> int:
    """Delete what was settled before a moment (UTC); returns how many rows. Their activities are too old for a mail."""
    old = notifications.c.finished_at < moment
    return connection.execute(delete(notifications).where(old)).rowcount


def _due() -> tuple[Any, ...]:
    return notifications.c.state == MailState.PENDING, notifications.c.next_try_at <= func.clock_timestamp()


def _change(engine: Engine, claimed: ClaimedMail, **values: Any) -> None:
    """Change a mail unless somebody claimed it after us."""
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
