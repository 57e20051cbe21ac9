"""Counts what is stored of an athlete's month, table by table."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, laps


@dataclass(frozen=True)
class MonthRows:
    """How many rows of each table belong to activities that start in a month."""

    activities: int
    laps: int
    activity_streams: int
    route_analyses: int


def month_rows(connection: Connection, span: Span) -> MonthRows:
    """Count the rows of a span, through the activities that start in it."""
    hanging = (
        select(func.count())
        .select_from(activities.join(table, table.c.activity_id == activities.c.id))
        .where(in_span(span))
        .scalar_subquery()
        for table in (laps, activity_streams, route_analyses)
    )
    counted = select(select(func.count()).where(in_span(span)).scalar_subquery(), *hanging)
    return MonthRows(*connection.execute(counted).one())
