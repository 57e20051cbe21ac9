"""Reads all facts about one activity that a ride summary is made of, and the athlete's usual values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select, text

from strava_pipeline.warehouse.analysis.ride_parts import (
    LoadDay,
    Record,
    Ride,
    RideClimb,
    RideFigures,
    Rider,
    RideSplit,
    RouteRank,
    Usual,
    ZoneTime,
)
from strava_pipeline.warehouse.schema.analysis_tables import (
    climbs,
    computed_splits,
    power_curve,
    route_analyses,
    training_load,
    zone_times,
)
from strava_pipeline.warehouse.schema.tables import activities, athletes

Part = TypeVar("Part")
# The usual values are medians of at most this many earlier activities of the same sport. A summary uses no median of
# fewer than its USUAL_FROM.
USUAL_OF = 20
# Records are given only to an activity that has at least this many earlier ones of its type.
RECORDS_FROM = 5
CURVE_DAYS = 90
LOAD_DAYS = 120
COMPARED = ("distance", "moving_time", "total_elevation_gain", "average_speed", "average_heartrate", "average_watts")

_RECORDS = text(
    "SELECT measure, amount, value FROM strava.athlete_records"
    " WHERE athlete_id = :athlete AND type = :type AND activity_id = :activity ORDER BY measure, amount"
)
_RANK = text(
    "SELECT rank_on_route, times_taken, behind_best_s, reversed FROM strava.route_ranks"
    " WHERE athlete_id = :athlete AND activity_id = :activity AND route_id ="
    " (SELECT route_id FROM strava.route_matches WHERE activity_id = :activity)"
)


@dataclass(frozen=True)
class RideFacts:
    """The facts about one activity; empty or ``None`` where nothing is stored.

    ``curve``: the activity's best mean power, W by duration in s. ``earlier_curve``: the best of the ``CURVE_DAYS``
    before. ``days``: training load up to the activity's day, oldest first.
    """

    activity: Ride
    athlete: Rider | None
    figures: RideFigures | None
    usual: Usual
    climbs: Sequence[RideClimb]
    splits: Sequence[RideSplit]
    zones: Sequence[ZoneTime]
    curve: dict[int, float]
    earlier_curve: dict[int, float]
    records: Sequence[Record]
    rank: RouteRank | None
    days: Sequence[LoadDay]


def ride_facts(connection: Connection, activity_id: int) -> RideFacts | None:
    """Return the facts about an activity; ``None`` if the activity is not stored."""
    activity = _one(connection, Ride, activities, activities.c.id == activity_id)
    if activity is None:
        return None
    whose = {"athlete": activity.athlete_id, "activity": activity_id, "type": activity.type}
    known = _earlier_count(connection, activity) >= RECORDS_FROM
    rank = connection.execute(_RANK, whose).first()
    return RideFacts(
        activity=activity,
        athlete=_one(connection, Rider, athletes, athletes.c.id == activity.athlete_id),
        figures=_one(connection, RideFigures, route_analyses, route_analyses.c.activity_id == activity_id),
        usual=_usual(connection, activity),
        climbs=_parts(connection, RideClimb, climbs, activity_id),
        splits=_parts(connection, RideSplit, computed_splits, activity_id),
        zones=_parts(connection, ZoneTime, zone_times, activity_id),
        curve=_curve(connection, activity_id),
        earlier_curve=_earlier_curve(connection, activity),
        records=[Record(*row) for row in connection.execute(_RECORDS, whose)] if known else (),
        rank=None if rank is None else RouteRank(*rank),
        days=_days(connection, activity.athlete_id, activity.local_day),
    )


def _select(part: type[Any], table: Table) -> Select[Any]:
    """A query of the table's columns that are fields of ``part``, in the order of the fields."""
    return select(*(table.c[field.name] for field in fields(part)))


def _one(connection: Connection, part: type[Part], table: Table, condition: ColumnElement[bool]) -> Part | None:
    row = connection.execute(_select(part, table).where(condition)).first()
    return None if row is None else part(*row)


def _parts(connection: Connection, part: type[Part], table: Table, activity_id: int) -> list[Part]:
    query = _select(part, table).where(table.c.activity_id == activity_id).order_by(*table.primary_key)
    return [part(*row) for row in connection.execute(query)]


def _earlier_count(connection: Connection, activity: Ride) -> int:
    query = select(func.count()).where(
        activities.c.athlete_id == activity.athlete_id,
        activities.c.type == activity.type,
        activities.c.start_date < activity.start_date,
    )
    return connection.execute(query).scalar_one()


def _usual(connection: Connection, activity: Ride) -> Usual:
    before = (
        select(*activities.c[COMPARED], route_analyses.c.training_load)
        .outerjoin(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .where(
            activities.c.athlete_id == activity.athlete_id,
            activities.c.sport_type == activity.sport_type,
            activities.c.start_date < activity.start_date,
            activities.c.id != activity.id,
        )
        .order_by(activities.c.start_date.desc())
        .limit(USUAL_OF)
        .subquery()
    )
    medians = (
        func.percentile_cont(0.5).within_group(before.c[field.name])
        for field in fields(Usual)
        if field.name != "activity_count"
    )
    return Usual(*connection.execute(select(func.count(), *medians).select_from(before)).one())


def _curve(connection: Connection, activity_id: int) -> dict[int, float]:
    query = select(power_curve.c.duration_s, power_curve.c.power_w).where(
        power_curve.c.activity_id == activity_id, power_curve.c.power_w > 0
    )
    return {row.duration_s: row.power_w for row in connection.execute(query)}


def _earlier_curve(connection: Connection, activity: Ride) -> dict[int, float]:
    """The best power of the ``CURVE_DAYS`` before the activity, W by duration in s; only measured power counts."""
    query = (
        select(power_curve.c.duration_s, func.max(power_curve.c.power_w).label("power_w"))
        .join(activities, activities.c.id == power_curve.c.activity_id)
        .where(
            power_curve.c.power_w > 0,
            activities.c.athlete_id == activity.athlete_id,
            activities.c.type == activity.type,
            activities.c.device_watts.is_distinct_from(False),
            activities.c.start_date < activity.start_date,
            activities.c.start_date > activity.start_date - timedelta(days=CURVE_DAYS),
        )
        .group_by(power_curve.c.duration_s)
    )
    return {row.duration_s: row.power_w for row in connection.execute(query)}


def _days(connection: Connection, athlete_id: int, until: date) -> list[LoadDay]:
    query = (
        _select(LoadDay, training_load)
        .where(
            training_load.c.athlete_id == athlete_id,
            training_load.c.day <= until,
            training_load.c.day > until - timedelta(days=LOAD_DAYS),
        )
        .order_by(training_load.c.day)
    )
    return [LoadDay(*row) for row in connection.execute(query)]
