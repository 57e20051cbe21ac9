"""Tells which failed steps of months are failures still.

A failure is over without a success of its step once nothing lacks: a webhook brought the activity, or it was deleted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, DateTime, and_, case, cast, exists, func, select, true
from sqlalchemy.sql.functions import Function

from strava_pipeline.warehouse.activities.outdated import lacks_detail
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.analysis.analyses import lacks_figures
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.import_tables import failed_months, import_months
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import ImportStep, PayloadKind

_c = failed_months.c


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


def still_failing(connection: Connection, athlete_ids: Collection[int], *, failures: int) -> list[FailedStep]:
    """The failed steps of these athletes that failed at least ``failures`` times in a row, newest month first.

    Steps of which nothing lacks any more are left out.
    """
    conditions = {
        ImportStep.SUMMARY: ~_is_done_since("listed_at"),
        ImportStep.DETAIL: _lacks_details(),
        ImportStep.STREAMS: _lacks_streams(),
        ImportStep.FIGURES: _lacks_figures(),
        ImportStep.LAKE: ~_is_done_since("lake_at"),
    }
    lasts = case(*((_c.step == step, condition) for step, condition in conditions.items()), else_=true())
    query = (
        select(failed_months)
        .where(any_of(_c.athlete_id, athlete_ids), _c.failures >= failures, lasts)
        .order_by(_c.athlete_id, _c.month.desc(), _c.step)
    )
    return [
        FailedStep(**(dict(row) | {"step": ImportStep(row["step"])})) for row in connection.execute(query).mappings()
    ]


def _is_done_since(column: str) -> ColumnElement[bool]:
    """Whether the month was listed, or written, after the step failed."""
    return exists().where(
        import_months.c.athlete_id == _c.athlete_id,
        import_months.c.month == _c.month,
        import_months.c[column] > _c.failed_at,
    )


def _lacks_details() -> ColumnElement[bool]:
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    return exists(
        select(activities.c.id)
        .join(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(_is_of_month(), lacks_detail(summary, detail))
        .correlate(failed_months)
    )


def _lacks_streams() -> ColumnElement[bool]:
    return exists(
        select(activities.c.id)
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(_is_of_month(), lacks_samples())
        .correlate(failed_months)
    )


def _lacks_figures() -> ColumnElement[bool]:
    return exists(
        select(activities.c.id)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .outerjoin(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .where(_is_of_month(), lacks_figures())
        .correlate(failed_months)
    )


def _is_of_month() -> ColumnElement[bool]:
    """Select the activities of the failed step's month."""
    return and_(
        activities.c.athlete_id == _c.athlete_id,
        activities.c.start_date >= _start(_c.month),
        activities.c.start_date < _start(_c.month + func.make_interval(0, 1)),
    )


def _start(month: ColumnElement[object]) -> Function[object]:
    return func.timezone("UTC", cast(month, DateTime))
