"""Analyses stored streams: loads what the analysis needs, and stores all results of an activity at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import polyline
from sqlalchemy import Connection

from strava_pipeline.analysis.athlete import DEFAULT_HIGHEST_BPM, Athlete
from strava_pipeline.analysis.climbs import Slope
from strava_pipeline.analysis.figures import Analysis, analyse
from strava_pipeline.analysis.route import Route
from strava_pipeline.analysis.route_match import Signature, match_routes
from strava_pipeline.analysis.stops import Stop
from strava_pipeline.analysis.track import Track, track_from_streams
from strava_pipeline.warehouse.activities.stream_store import StoredStreams, load_streams
from strava_pipeline.warehouse.analysis.analyses import AnalysisRows, outing_of, store_analysis
from strava_pipeline.warehouse.analysis.physiology import physiology_of
from strava_pipeline.warehouse.analysis.route_matches import Bounds, lock_routes, routes_near

Row = dict[str, Any]
ROUTE_COLUMNS = (
    "route_kind", "south_deg", "west_deg", "north_deg", "east_deg", "left_turns", "right_turns", "route_polyline",
)  # fmt: skip
# Faults beyond this number are counted, not listed.
MOST_FAULTS = 100


def analyse_stored(connection: Connection, activity_id: int) -> bool:
    """Analyse one activity's stored streams and store the results.

    False if there are no samples, the activity is gone, or newer streams were analysed already.
    """
    streams = load_streams(connection, activity_id)
    if streams is None or not streams.point_count:
        return False
    track = track_from_streams(streams)
    activity = outing_of(connection, activity_id)
    if activity is None:
        return False
    analysis = analyse(
        track, athlete_of(connection, streams.athlete_id, activity.day), power_measured=activity.power_measured
    )
    return store_analysis(connection, streams, _rows(connection, streams, analysis, track))


def athlete_of(connection: Connection, athlete_id: int, day: date) -> Athlete:
    """The athlete's physiology on a day, as the analysis needs it."""
    known = physiology_of(connection, athlete_id, day)
    return Athlete(
        ftp_w=known.ftp_w,
        weight_kg=known.weight_kg,
        highest_bpm=known.highest_bpm or DEFAULT_HIGHEST_BPM,
        female=known.sex == "F",
        heart_rate_zones_bpm=known.heart_rate_zones_bpm,
        power_zones_w=known.power_zones_w,
    )


def _figure_row(analysis: Analysis, track: Track) -> Row:
    """The columns of ``route_analyses``."""
    return asdict(analysis.figures) | {
        "faults": json.dumps([asdict(fault) for fault in analysis.faults[:MOST_FAULTS]]),
        "grades_m": json.dumps(analysis.grades_m),
        **_route_row(analysis.route, track),
    }


def _route_row(route: Route | None, track: Track) -> Row:
    if route is None or track.latitude is None or track.longitude is None:
        # NULL in each: a column that is left out would keep the value of an earlier analysis.
        return dict.fromkeys(ROUTE_COLUMNS)
    line = zip(track.latitude[list(route.line)].tolist(), track.longitude[list(route.line)].tolist(), strict=True)
    return {
        "route_kind": route.kind,
        "south_deg": route.south,
        "west_deg": route.west,
        "north_deg": route.north,
        "east_deg": route.east,
        "left_turns": route.left_turns,
        "right_turns": route.right_turns,
        "route_polyline": polyline.encode(list(line)),
    }


def _rows(connection: Connection, streams: StoredStreams, analysis: Analysis, track: Track) -> AnalysisRows:
    return AnalysisRows(
        figures=_figure_row(analysis, track),
        climbs=_numbered(analysis.climbs),
        descents=_numbered(analysis.descents),
        stops=_numbered(analysis.stops),
        power_curve=[asdict(point) for point in analysis.curve],
        distance_efforts=[asdict(effort) for effort in analysis.distance_efforts],
        computed_splits=[asdict(split) for split in analysis.splits],
        zone_times=[asdict(zone) for zone in analysis.zone_times],
        route_matches=_route_match(connection, streams, analysis.route),
    )


def _numbered(items: Sequence[Slope | Stop]) -> list[Row]:
    return [{"number": number} | asdict(item) for number, item in enumerate(items, start=1)]


def _route_match(connection: Connection, streams: StoredStreams, route: Route | None) -> list[Row]:
    """The activity's row of ``route_matches``: an earlier activity's route, or a new one; no row without a route."""
    if route is None or route.signature is None:
        return []
    lock_routes(connection, streams.athlete_id)
    signature = route.signature
    row: Row = {"route_id": streams.activity_id, "reversed": False, "shared": 1.0}
    near = Bounds(route.south, route.north)
    for known in routes_near(connection, streams.athlete_id, streams.activity_id, near, signature.length_m):
        theirs = Signature(np.stack((known.latitude, known.longitude), axis=1), known.length_m)
        found = match_routes(signature, theirs)
        if found is not None and (row["route_id"] == streams.activity_id or found.shared > row["shared"]):
            row = {
                "route_id": known.route_id,
                "reversed": found.reversed != known.reversed,
                "shared": found.shared,
            }
    points = signature.points
    return [
        row | {"length_m": signature.length_m, "latitude": points[:, 0].tolist(), "longitude": points[:, 1].tolist()}
    ]
