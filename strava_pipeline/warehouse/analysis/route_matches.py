"""Finds the routes that an athlete has taken before near a new recording."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses, route_matches

# Edges of two recordings of one route differ by at most this much, degrees (some 500 m), plus this share of the
# route's extent from south to north; their lengths differ by at most LENGTH_SHARE.
EDGE_DEG = 0.005
EDGE_SHARE = 0.1
LENGTH_SHARE = 0.1


@dataclass(frozen=True)
class Bounds:
    """The southern and northern edge of a recording, degrees."""

    south: float
    north: float


@dataclass(frozen=True)
class KnownRoute:
    """One recording that represents its route: positions in degrees; ``reversed``: against the route's direction."""

    route_id: int
    reversed: bool
    length_m: float
    latitude: list[float]
    longitude: list[float]


def lock_routes(connection: Connection, athlete_id: int) -> None:
    """Let no other process find new routes of this athlete until the transaction ends, so that none is stored twice."""
    acquire_for_athlete(connection, AthleteLock.ROUTES, athlete_id)


def routes_near(
    connection: Connection, athlete_id: int, activity_id: int, bounds: Bounds, length_m: float
) -> list[KnownRoute]:
    """Return the athlete's known routes near these bounds and of about this length (m), without this activity's own.

    Each route is represented by the matching activity with the lowest id.
    """
    edge = EDGE_DEG + EDGE_SHARE * (bounds.north - bounds.south)
    matches = route_matches.c
    rank = func.row_number().over(partition_by=matches.route_id, order_by=matches.activity_id)
    near = (
        select(
            matches.route_id,
            matches.reversed,
            matches.length_m,
            matches.latitude,
            matches.longitude,
            rank.label("rank"),
        )
        .join(route_analyses, route_analyses.c.activity_id == matches.activity_id)
        .where(
            matches.athlete_id == athlete_id,
            matches.activity_id != activity_id,
            matches.length_m.between(length_m * (1 - LENGTH_SHARE), length_m * (1 + LENGTH_SHARE)),
            route_analyses.c.south_deg.between(bounds.south - edge, bounds.south + edge),
            route_analyses.c.north_deg.between(bounds.north - edge, bounds.north + edge),
        )
        .subquery()
    )
    *fields, ranked = near.c
    query = select(*fields).where(ranked == 1).order_by(near.c.route_id)
    return [KnownRoute(*row) for row in connection.execute(query)]
