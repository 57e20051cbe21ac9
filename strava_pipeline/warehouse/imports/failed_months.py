"""Keeps which steps of an import failed for which month, why, and when they are due again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Connection, case, delete, literal, select
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time, has_come
from strava_pipeline.warehouse.schema.import_tables import LONGEST_MONTH_PAUSE, failed_months
from strava_pipeline.warehouse.states import ImportStep

# From a failure to the next try.
FIRST_PAUSE = timedelta(minutes=5)
SECOND_PAUSE = timedelta(minutes=30)
# A month that failed so often is tried again daily, and named to the operator.
NAMED_FROM = 3


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
        else_=literal(moment + LONGEST_MONTH_PAUSE, UTC_TIME),
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


def forget_failed(connection: Connection, athlete_id: int, steps: Collection[ImportStep]) -> None:
    """Delete what is kept of an athlete's failures of steps that are not wanted any more."""
    connection.execute(
        delete(failed_months).where(failed_months.c.athlete_id == athlete_id, failed_months.c.step.in_(steps))
    )


def steps_for_later(connection: Connection, span: Span) -> set[ImportStep]:
    """The steps that failed for a month and are not due again."""
    query = select(failed_months.c.step).where(
        failed_months.c.athlete_id == span.athlete_id,
        failed_months.c.month == span.start.date(),
        ~has_come(failed_months.c.retry_at, database_time(), LONGEST_MONTH_PAUSE),
    )
    return set(map(ImportStep, connection.execute(query).scalars()))
