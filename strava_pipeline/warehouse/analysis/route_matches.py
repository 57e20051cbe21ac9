"""The routes an athlete has taken before, near a new one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import distinct_on

from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses, route_matches

# Two recordings of one route differ by this much at its edges, degrees (some 500 m), or by this share of its size.
EDGE_DEG = 0.005
EDGE_SHARE = 0.1
LENGTH_SHARE = 0.1


@dataclass(frozen=True)
class Bounds:
    """Edges of a way, degrees."""

    south: float
    north: float


@dataclass(frozen=True)
class KnownRoute:
    """One ride stands for its route: positions in degrees; ``reversed``: against the route's direction."""

    route_id: int
    reversed: bool
    length_m: float
    latitude: list[float]
    longitude: list[float]


def lock_routes(connection: Connection, athlete_id: int) -> None:
    """Until the transaction ends nobody else finds new routes of this athlete: one found twice would be two."""
    acquire_for_athlete(connection, AthleteLock.ROUTES, athlete_id)


def routes_near(
    connection: Connection, athlete_id: int, activity_id: int, bounds: Bounds, length_m: float
) -> list[KnownRoute]:
    """The athlete's routes of about this length and place, by other activities; one row each, the first found."""
    edge = EDGE_DEG + EDGE_SHARE * (bounds.north - bounds.south)
    matches = route_matches.c
    query = (
        select(matches.route_id, matches.reversed, matches.length_m, matches.latitude, matches.longitude)
        .join(route_analyses, route_analyses.c.activity_id == matches.activity_id)
        .where(
            matches.athlete_id == athlete_id,
            matches.activity_id != activity_id,
            matches.length_m.between(length_m * (1 - LENGTH_SHARE), length_m * (1 + LENGTH_SHARE)),
            route_analyses.c.south_deg.between(bounds.south - edge, bounds.south + edge),
            route_analyses.c.north_deg.between(bounds.north - edge, bounds.north + edge),
        )
        .ext(distinct_on(matches.route_id))
        .order_by(matches.route_id, matches.activity_id)
    )
    return [KnownRoute(*row) for row in connection.execute(query)]
