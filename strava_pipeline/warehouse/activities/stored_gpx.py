"""Builds the GPX of an activity from its stored rows, for when Strava cannot be asked."""

from __future__ import annotations

from sqlalchemy import Connection, select

from strava_pipeline.errors import UnknownActivity, WarehouseError
from strava_pipeline.strava.mapping.gpx import Titles, build_gpx
from strava_pipeline.warehouse.activities.stream_store import load_streams
from strava_pipeline.warehouse.schema.tables import activities


def stored_gpx(connection: Connection, activity_id: int) -> str:
    """Return a stored activity as GPX 1.1.

    ``UnknownActivity`` if it is not stored, ``WarehouseError`` if its samples are not, ``NotFound`` without positions.
    """
    columns = [activities.c[name] for name in Titles.__annotations__]
    found = connection.execute(select(*columns).where(activities.c.id == activity_id)).first()
    if found is None:
        raise UnknownActivity(f"activity {activity_id} is not in the tables")
    streams = load_streams(connection, activity_id)
    if streams is None:
        raise WarehouseError(f"the samples of activity {activity_id} are not in the tables")
    return build_gpx(Titles(**found._asdict()), streams)
