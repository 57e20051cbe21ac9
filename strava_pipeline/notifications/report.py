"""Builds the report of one activity: a single HTML page with its pictures inside, light and dark, fit for printing."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from sqlalchemy import Connection

from strava_pipeline.analysis.track import track_from_streams
from strava_pipeline.notifications.gallery import gallery
from strava_pipeline.notifications.rendering import templates
from strava_pipeline.notifications.summary import summarize
from strava_pipeline.pictures.themes import DARK, LIGHT
from strava_pipeline.warehouse.activities.stream_store import StoredStreams, load_streams
from strava_pipeline.warehouse.analysis.ride_facts import RideFacts, ride_facts


@dataclass(frozen=True)
class StoredRide:
    """What the page shows of an activity; ``streams`` is ``None`` if none are stored."""

    facts: RideFacts
    streams: StoredStreams | None


def load_ride(connection: Connection, activity_id: int) -> StoredRide | None:
    """Read what the page shows; ``None`` if the activity is not stored."""
    facts = ride_facts(connection, activity_id)
    return None if facts is None else StoredRide(facts, load_streams(connection, activity_id))


def render_report(ride: StoredRide) -> str:
    """Return the page."""
    facts, streams = ride.facts, ride.streams
    summary = summarize(facts)
    track = track_from_streams(streams) if streams is not None and streams.point_count else None
    light, dark = (gallery(facts, track, summary.units, theme) for theme in (LIGHT, DARK))
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            pictures={
                name: {
                    "heading": picture.heading,
                    "description": picture.description,
                    "light": _inline(picture.png),
                    "dark": _inline(dark[name].png),
                }
                for name, picture in light.items()
            },
        )
    )


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
