"""Stores an athlete's training load day by day, and reads the activities it is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Date, cast, delete, exists, func, or_, select

from strava_pipeline.warehouse.bulk import append
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses, training_load
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import KEPT_UP

Row = dict[str, Any]


def lock_training_load(connection: Connection, athlete_id: int) -> None:
    """Let no other process compute this athlete's days until the transaction ends."""
    acquire_for_athlete(connection, AthleteLock.TRAINING_LOAD, athlete_id)


def active_days(connection: Connection, athlete_id: int) -> dict[date, tuple[int, float]]:
    """Return the number of activities and their total load for each local day with activities, oldest first.

    An activity without a load counts 0.
    """
    day = cast(func.coalesce(activities.c.start_date_local, activities.c.start_date), Date)
    query = (
        select(day, func.count(), func.coalesce(func.sum(route_analyses.c.training_load), 0.0))
        .select_from(activities)
        .outerjoin(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .where(activities.c.athlete_id == athlete_id)
        .group_by(day)
        .order_by(day)
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def connected_with_load(connection: Connection) -> list[int]:
    """Return the ids of the connected athletes who have days, or activities from which days are computed."""
    some = (exists().where(table.c.athlete_id == users.c.athlete_id) for table in (activities, training_load))
    query = select(users.c.athlete_id).where(users.c.state.in_(KEPT_UP), or_(*some)).order_by(users.c.athlete_id)
    return list(connection.execute(query).scalars())


@dataclass(frozen=True, slots=True)
class StoredDay:
    """The columns of a stored day that the next days and a comparison with the activities need."""

    day: date
    activity_count: int
    load: float
    fitness: float
    fatigue: float


def stored_days(connection: Connection, athlete_id: int) -> list[StoredDay]:
    """Return an athlete's stored days, oldest first."""
    query = select(*training_load.c["day", "activity_count", "load", "fitness", "fatigue"])
    found = connection.execute(query.where(training_load.c.athlete_id == athlete_id).order_by(training_load.c.day))
    return [StoredDay(*row) for row in found]


def replace_days(connection: Connection, athlete_id: int, first: date | None, rows: Sequence[Row]) -> None:
    """Replace the days from ``first`` on (``None``: all days) by ``rows``.

    ``NeedsReauthorization`` if there are rows and the athlete has disconnected.
    """
    query = delete(training_load).where(training_load.c.athlete_id == athlete_id)
    connection.execute(query if first is None else query.where(training_load.c.day >= first))
    if rows:
        refuse_rows_of_revoked(connection, {athlete_id})
    append(connection, training_load, rows)
