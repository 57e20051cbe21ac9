"""Reads what the page of an athlete's month shows: how much is stored, and the newest route with its elevation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, athletes
from strava_pipeline.warehouse.states import GrantState


@dataclass(frozen=True)
class NewestRoute:
    """The last activity of a month whose positions were analysed.

    ``route``: encoded polyline of precision 5. ``along_m`` and ``altitude_m``: samples, shapes (n,), with gaps; empty
    where nothing was recorded. ``starts_at``: local wall time.
    """

    activity_id: int
    name: str | None
    sport_type: str | None
    starts_at: datetime | None
    distance_m: float | None
    moving_s: int | None
    climbed_m: float | None
    route: str
    along_m: list[float | None]
    altitude_m: list[float | None]


@dataclass(frozen=True)
class MonthView:
    """What is stored of an athlete's month. ``preference``: the athlete's choice of units at Strava."""

    activities: int
    newest: NewestRoute | None
    preference: str | None
    is_disconnected: bool


def month_view(connection: Connection, span: Span) -> MonthView | None:
    """Return what is stored of a month; ``None`` for an athlete who never connected."""
    whose = select(users.c.state, athletes.c.measurement_preference).outerjoin(
        athletes, athletes.c.id == users.c.athlete_id
    )
    athlete = connection.execute(whose.where(users.c.athlete_id == span.athlete_id)).first()
    if athlete is None:
        return None
    count = connection.execute(select(func.count()).select_from(activities).where(in_span(span))).scalar_one()
    is_disconnected = athlete.state == GrantState.REVOKED
    return MonthView(count, _newest(connection, span), athlete.measurement_preference, is_disconnected)


def _newest(connection: Connection, span: Span) -> NewestRoute | None:
    query = (
        select(
            activities.c.id,
            activities.c.name,
            activities.c.sport_type,
            activities.c.start_date_local,
            activities.c.distance,
            activities.c.moving_time,
            route_analyses.c.elevation_gain_m,
            route_analyses.c.route_polyline,
            activity_streams.c.distance,
            activity_streams.c.altitude,
        )
        .join(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(in_span(span), route_analyses.c.route_polyline.is_not(None))
        .order_by(activities.c.start_date.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    number, name, sport_type, starts_at, distance_m, moving_s, climbed_m, route, along_m, altitude_m = row
    return NewestRoute(
        number, name, sport_type, starts_at, distance_m, moving_s, climbed_m, route, along_m or [], altitude_m or []
    )
