"""Stores the analyses of activities' samples; each is stored and replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, literal, or_, select

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.activities.stream_store import StoredStreams, lock_activity
from strava_pipeline.warehouse.bulk import append, store_newer
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.analysis_tables import ANALYSIS_VERSION, PARTS, route_analyses
from strava_pipeline.warehouse.schema.tables import activities, activity_streams

Row = dict[str, Any]
# One statement instead of one per table.
_DELETE_PARTS = select(literal(1)).add_cte(
    *(delete(part).where(part.c.activity_id == bindparam("activity_id")).cte(f"of_{part.name}") for part in PARTS)
)


def lacks_figures() -> ColumnElement[bool]:
    """Select samples whose analysis is missing, of other streams, or by another version of the formulas.

    For a query that joins ``activity_streams`` with ``route_analyses``, where there are any.
    """
    return and_(
        activity_streams.c.point_count > 0,
        or_(
            route_analyses.c.streams_fetched_at.is_distinct_from(activity_streams.c.fetched_at),
            route_analyses.c.analysis_version.is_distinct_from(ANALYSIS_VERSION),
        ),
    )


def not_analysed(connection: Connection, span: Span) -> list[int]:
    """Return the ids of a span's activities with samples that need an analysis, oldest first."""
    query = (
        select(activities.c.id)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .outerjoin(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .where(
            in_span(span),
            lacks_figures(),
        )
        .order_by(activities.c.start_date)
    )
    return list(connection.execute(query).scalars())


def analysed_at(connection: Connection, activity_id: int) -> datetime | None:
    """Return when an activity was last analysed (UTC); ``None`` if it was not."""
    query = select(route_analyses.c.analysed_at).where(route_analyses.c.activity_id == activity_id)
    return connection.execute(query).scalar_one_or_none()


def analysed_activity(connection: Connection, activity_id: int) -> dict[str, Any]:
    """Return id, athlete, name, sport, local start and all figures of an analysed activity, by column.

    SQLAlchemy's ``NoResultFound`` if the activity was not analysed.
    """
    of_activity = activities.c["id", "athlete_id", "name", "sport_type", "start_date_local"]
    figures = [column for column in route_analyses.c if column.name not in {"activity_id", "athlete_id"}]
    query = select(*of_activity, *figures).join(route_analyses, route_analyses.c.activity_id == activities.c.id)
    return connection.execute(query.where(activities.c.id == activity_id)).one()._asdict()


@dataclass(frozen=True)
class Outing:
    """The inputs of an analysis besides the samples: the activity's local day, and whether power was measured."""

    day: date
    power_measured: bool


def outing_of(connection: Connection, activity_id: int) -> Outing | None:
    """Return the :class:`Outing` of an activity; ``None`` if the activity is not stored."""
    query = select(activities.c.start_date_local, activities.c.start_date, activities.c.device_watts)
    found = connection.execute(query.where(activities.c.id == activity_id)).first()
    if found is None:
        return None
    return Outing((found.start_date_local or found.start_date).date(), found.device_watts is not False)


@dataclass(frozen=True, slots=True)
class AnalysisRows:
    """The rows of an analysis, without the ids of activity and athlete.

    ``figures``: the columns of ``route_analyses``; every other field holds the rows of the table of that name.
    """

    figures: Row
    climbs: Sequence[Row] = ()
    descents: Sequence[Row] = ()
    stops: Sequence[Row] = ()
    power_curve: Sequence[Row] = ()
    distance_efforts: Sequence[Row] = ()
    computed_splits: Sequence[Row] = ()
    zone_times: Sequence[Row] = ()
    route_matches: Sequence[Row] = ()


def store_analysis(connection: Connection, streams: StoredStreams, rows: AnalysisRows) -> bool:
    """Replace an activity's rows in all tables of the analysis by ``rows``, which were computed from ``streams``.

    Returns False if the activity was deleted, or newer streams were analysed already.
    """
    owner = {"activity_id": streams.activity_id, "athlete_id": streams.athlete_id}
    if not lock_activity(connection, streams.activity_id):
        return False
    row = (
        rows.figures
        | owner
        | {
            "streams_fetched_at": streams.fetched_at,
            "analysed_at": now(connection),
            "analysis_version": ANALYSIS_VERSION,
        }
    )
    # Another process that analyses this activity waits here until this transaction ends.
    if not store_newer(connection, route_analyses, [row]):
        return False
    connection.execute(_DELETE_PARTS, {"activity_id": streams.activity_id})
    for table in PARTS:
        append(connection, table, [owner | part for part in getattr(rows, table.name)])
    return True
