"""Keeps which steps of an import failed for which month, why, and when they are due again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, case, delete, literal, select
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import UTC_TIME, any_of, database_time
from strava_pipeline.warehouse.schema.import_tables import failed_months
from strava_pipeline.warehouse.states import ImportStep

# From a failure to the next try.
FIRST_PAUSE = timedelta(minutes=5)
SECOND_PAUSE = timedelta(minutes=30)
LATER_PAUSES = timedelta(days=1)
# A month that failed so often is tried again daily, and named to the operator.
NAMED_FROM = 3


@dataclass(frozen=True)
class FailedStep:
    """A step that failed for an athlete's month, how often in a row, why, and when it is due again (UTC)."""

    athlete_id: int
    month: date
    step: ImportStep
    failures: int
    error: str
    failed_at: datetime
    retry_at: datetime


def note_failed(connection: Connection, span: Span, step: ImportStep, reason: str) -> None:
    """Count a failure of a month's step; it is due again in 5 min, then 30 min, then each day."""
    refuse_rows_of_revoked(connection, [span.athlete_id])
    moment = now(connection)
    first = {
        "athlete_id": span.athlete_id,
        "month": span.start.date(),
        "step": step,
        "failures": 1,
        "error": printable(reason),
        "failed_at": moment,
        "retry_at": moment + FIRST_PAUSE,
    }
    noting = insert(failed_months).values(first)
    retry_at = case(
        (failed_months.c.failures == 1, literal(moment + SECOND_PAUSE, UTC_TIME)),
        else_=literal(moment + LATER_PAUSES, UTC_TIME),
    )
    changes = {
        "failures": failed_months.c.failures + 1,
        "error": noting.excluded.error,
        "failed_at": noting.excluded.failed_at,
        "retry_at": retry_at,
    }
    connection.execute(noting.on_conflict_do_update(index_elements=["athlete_id", "month", "step"], set_=changes))


def note_succeeded(connection: Connection, span: Span, step: ImportStep) -> None:
    """Delete what is kept of the failures of a month's step."""
    connection.execute(
        delete(failed_months).where(
            failed_months.c.athlete_id == span.athlete_id,
            failed_months.c.month == span.start.date(),
            failed_months.c.step == step,
        )
    )


def failed_steps(connection: Connection, athlete_ids: Collection[int], *, failures: int = 1) -> list[FailedStep]:
    """The failed steps of these athletes that failed at least ``failures`` times in a row, newest month first."""
    query = (
        select(failed_months)
        .where(any_of(failed_months.c.athlete_id, athlete_ids), failed_months.c.failures >= failures)
        .order_by(failed_months.c.athlete_id, failed_months.c.month.desc(), failed_months.c.step)
    )
    return [
        FailedStep(**(dict(row) | {"step": ImportStep(row["step"])})) for row in connection.execute(query).mappings()
    ]


def steps_for_later(connection: Connection, span: Span) -> set[ImportStep]:
    """The steps that failed for a month and are not due again."""
    query = select(failed_months.c.step).where(
        failed_months.c.athlete_id == span.athlete_id,
        failed_months.c.month == span.start.date(),
        failed_months.c.retry_at > database_time(),
    )
    return set(map(ImportStep, connection.execute(query).scalars()))
