"""The body of ``GET /athletes/{id}/stats``: totals of public activities."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.world import Activity

RECENT = timedelta(weeks=4)
KINDS = {"ride": "Ride", "run": "Run", "swim": "Swim"}


def stats_body(activities: Iterable[Activity], now: float) -> JsonObject:
    """Return totals of rides, runs and swims: of the last four weeks, of this year and of all time.

    Private activities are left out. ``now`` in epoch s.
    """
    moment = datetime.fromtimestamp(now, UTC)
    new_year = datetime(moment.year, 1, 1, tzinfo=UTC).timestamp()
    since = {"recent": (moment - RECENT).timestamp(), "ytd": new_year, "all": float("-inf")}
    shown = [(activity.start, activity.summary()) for activity in activities if not activity.private]
    return {
        f"{span}_{kind}_totals": _total(
            [body for start, body in shown if start >= first and body.get("type") == strava_type],
            recent=span == "recent",
        )
        for span, first in since.items()
        for kind, strava_type in KINDS.items()
    }


def _total(bodies: list[JsonObject], *, recent: bool) -> JsonObject:
    total = {
        "count": len(bodies),
        "distance": sum(body["distance"] for body in bodies),
        "moving_time": sum(body["moving_time"] for body in bodies),
        "elapsed_time": sum(body["elapsed_time"] for body in bodies),
        "elevation_gain": sum(body["total_elevation_gain"] for body in bodies),
    }
    achievements = sum(body.get("achievement_count", 0) for body in bodies)
    return total | ({"achievement_count": achievements} if recent else {})
