"""Quarantine: activities that could not be stored, with reason and time, until they are stored or gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, case, delete, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import UTC_TIME, Moment, any_of, database_time, has_come, is_not_newer
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ImportStep, PutAside

# How long an activity in quarantine is left alone.
FIRST_PAUSE = timedelta(days=1)
SECOND_PAUSE = timedelta(days=7)
LATER_PAUSES = timedelta(days=30)


def add_to_quarantine(
    connection: Connection,
    span: Span,
    step: ImportStep,
    reasons: Mapping[int, str],
    kind: PutAside = PutAside.UNUSABLE,
) -> None:
    """Put activities of a span that could not be stored into quarantine, each with its reason.

    They lack nothing for a day then; after the second try for seven days, after each later one for thirty. An activity
    that was stored, and was deleted meanwhile, is not added.
    """
    if not reasons:
        return
    refuse_rows_of_revoked(connection, [span.athlete_id])
    if step is not ImportStep.SUMMARY:
        # A deletion waits for this transaction, and then deletes what it adds.
        there = select(activities.c.id).where(any_of(activities.c.id, reasons))
        stored = set(connection.execute(there.with_for_update(read=True, key_share=True)).scalars())
        reasons = {activity_id: reason for activity_id, reason in reasons.items() if activity_id in stored}
    moment = now(connection)
    values = [
        {
            "activity_id": activity_id,
            "step": step,
            "athlete_id": span.athlete_id,
            "reason": printable(reason),
            "span_start": span.start,
            "span_end": span.end,
            "since": moment,
            "tried_at": moment,
            "kind": kind,
            "tries": 1,
            "retry_at": moment + FIRST_PAUSE,
        }
        for activity_id, reason in sorted(reasons.items())
    ]
    adding = insert(put_aside)
    changes: dict[str, Any] = {
        name: adding.excluded[name] for name in ("reason", "span_start", "span_end", "tried_at", "kind")
    }
    changes["tries"] = put_aside.c.tries + 1
    changes["retry_at"] = case(
        (put_aside.c.tries == 1, literal(moment + SECOND_PAUSE, UTC_TIME)),
        else_=literal(moment + LATER_PAUSES, UTC_TIME),
    )
    if values:
        adding = adding.on_conflict_do_update(index_elements=["activity_id", "step"], set_=changes)
        connection.execute(adding, values)
        mark_changed(connection, reasons)


def is_for_later(step: ImportStep) -> ColumnElement[bool]:
    """The condition that an activity is in quarantine with a step, and not due to be tried again."""
    return exists().where(
        put_aside.c.activity_id == activities.c.id,
        put_aside.c.step == step,
        ~is_due_again(put_aside.c.retry_at, database_time()),
    )


def is_due_again(retry_at: Column[Any], moment: Moment) -> ColumnElement[bool]:
    """Whether an activity in quarantine is to be tried again at a moment (UTC); ``retry_at``: the row's column."""
    return has_come(retry_at, moment, LATER_PAUSES)


def release_from_quarantine(connection: Connection, step: ImportStep, activity_ids: Collection[int]) -> None:
    """Release activities whose step was stored, or that are gone."""
    if activity_ids:
        released = connection.execute(
            delete(put_aside).where(put_aside.c.step == step, any_of(put_aside.c.activity_id, activity_ids))
        )
        if released.rowcount:
            mark_changed(connection, activity_ids)


def forget_quarantined(connection: Connection, athlete_id: int, steps: Collection[ImportStep]) -> None:
    """Release all of an athlete's activities whose step is not wanted any more."""
    releasing = delete(put_aside).where(put_aside.c.athlete_id == athlete_id, put_aside.c.step.in_(steps))
    released = connection.execute(releasing.returning(put_aside.c.activity_id)).scalars()
    mark_changed(connection, set(released))


def note_listed_again(connection: Connection, span: Span) -> None:
    """Let summaries in quarantine wait for their next turn that are due and belong to months of a span just listed.

    They were not told again: they are older than what is kept, or their month failed, or only a part of the span that
    once told them was listed.
    """
    moment = database_time()
    connection.execute(
        update(put_aside)
        .where(
            put_aside.c.step == ImportStep.SUMMARY,
            put_aside.c.athlete_id == span.athlete_id,
            put_aside.c.span_start < span.end,
            put_aside.c.span_end > span.start,
            is_due_again(put_aside.c.retry_at, moment),
        )
        .values(
            tries=put_aside.c.tries + 1,
            retry_at=moment + case((put_aside.c.tries == 1, SECOND_PAUSE), else_=LATER_PAUSES),
        )
    )


def release_unlisted(
    connection: Connection, span: Span, listed: Collection[int], keep_from: datetime | None, asked_at: datetime
) -> None:
    """Release summaries, quarantined within a span, that are no longer among those ``listed`` in the whole span.

    Those that were put aside after ``asked_at`` (UTC), when the listing was asked for, may be newer than it. What
    started before ``keep_from`` is not stored, so the part of a span before it need not be listed.
    """
    first = put_aside.c.span_start
    connection.execute(
        delete(put_aside).where(
            put_aside.c.step == ImportStep.SUMMARY,
            put_aside.c.athlete_id == span.athlete_id,
            (first if keep_from is None else func.greatest(first, keep_from)) >= span.start,
            put_aside.c.span_end <= span.end,
            put_aside.c.activity_id.not_in(listed),
            is_not_newer(put_aside.c.tried_at, asked_at),
        )
    )


def count_quarantined(connection: Connection) -> dict[int, int]:
    """The number of quarantined activities by athlete; athletes without any are left out.

    Not counted are those that Strava shows no more.
    """
    query = (
        select(put_aside.c.athlete_id, func.count(put_aside.c.activity_id.distinct()))
        .where(put_aside.c.kind != PutAside.HIDDEN)
        .group_by(put_aside.c.athlete_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}
