"""Pictures of an athlete's month for Dagster's UI: route and elevation of its newest activity."""

from base64 import b64encode

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.months import Span
from strava_pipeline.units import METRIC, units_of
from strava_pipeline.warehouse.activities.stream_store import load_streams
from strava_pipeline.warehouse.analysis.ride_facts import newest_with_positions, ride_facts


def month_pictures(engine: Engine, span: Span) -> dict[str, dg.MetadataValue]:
    """Draw pictures for a materialization's metadata, each well below 100 kB; none without recorded positions."""
    # Loading takes half a second; a run that writes nothing draws nothing.
    from strava_pipeline.analysis.track import track_from_streams  # noqa: PLC0415  see above
    from strava_pipeline.pictures.profile import profile_picture  # noqa: PLC0415  see above
    from strava_pipeline.pictures.route import route_picture  # noqa: PLC0415  see above

    with engine.connect() as connection:
        newest = newest_with_positions(connection, span)
        facts = None if newest is None else ride_facts(connection, newest)
        streams = None if newest is None else load_streams(connection, newest)
    if facts is None or streams is None:
        return {}
    track = track_from_streams(streams)
    units = METRIC if facts.athlete is None else units_of(facts.athlete.measurement_preference)
    drawn = {
        "newest route": route_picture(track, units=units),
        "newest elevation": profile_picture(track, facts.climbs, units=units),
    }
    return {name: _shown(name, picture) for name, picture in drawn.items() if picture is not None}


def _shown(name: str, png: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{b64encode(png).decode()})")
