"""Stores streams: the samples of each activity."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, or_, select

from strava_pipeline.streams import Streams
from strava_pipeline.warehouse.activities.activity_store import RecordingVersion, recording_version
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.lake_months import mark_month_of
from strava_pipeline.warehouse.archives.file_streams import has_samples_of_file
from strava_pipeline.warehouse.archives.recordings import note_samples_of_api, waits_to_be_read
from strava_pipeline.warehouse.bulk import store_newer
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import StreamSource

# Strava has an upload's samples ready minutes later, and much later on a bad day. When an activity ended longer ago,
# the answer that there are none is final: an hour on a treadmill may have a heart rate and no samples.
READY_WITHIN = timedelta(days=1)

_COLUMNS = tuple(field.name for field in fields(Streams))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStreams(Streams):
    """Streams from the table, with the time (UTC) at which Strava was asked for them."""

    fetched_at: datetime


def store_streams(
    connection: Connection, streams: Streams, asked_at: datetime, of: RecordingVersion | None = None
) -> bool:
    """Store one activity's streams; False if newer streams are stored already, or the activity was deleted.

    Samples of a file give way to those of Strava, but not to the answer that there are none.
    ``of``: the recording for which the streams were requested. If the activity has another recording by now, the
    streams may belong to the old one, and are not stored either.
    """
    if not lock_activity(connection, streams.activity_id):
        return False
    if of is not None and recording_version(connection, streams.activity_id) != of:
        return False
    row = {name: getattr(streams, name) for name in _COLUMNS}
    other = None if streams.other is None else json.dumps(streams.other)
    row |= {"other": other, "fetched_at": asked_at, "source": StreamSource.API}
    row |= {"recording_id": None, "stream_sources": None}
    if not streams.point_count and has_samples_of_file(connection, streams.activity_id):
        return False
    if not store_newer(connection, activity_streams, [row]):
        return False
    note_samples_of_api(connection, streams.activity_id)
    mark_month_of(connection, streams.activity_id)
    mark_changed(connection, [streams.activity_id])
    return True


def load_streams(connection: Connection, activity_id: int) -> StoredStreams | None:
    """The stored streams of one activity; ``None`` if there are none."""
    columns = activity_streams.c[*_COLUMNS, "fetched_at"]
    found = connection.execute(select(*columns).where(activity_streams.c.activity_id == activity_id)).first()
    return None if found is None else StoredStreams(**found._asdict())


@dataclass(frozen=True)
class StreamsNeeded:
    """Whether Strava has to be asked for an activity's samples.

    ``missing``: none are stored, or none came while they could be unready. ``may_come``: if Strava has none now, it may
    have some later: the activity has a route, a heart rate or a measured power, and it ended, or an event told of it,
    less than ``READY_WITHIN`` ago. ``by_hand``: the activity was entered by hand and has no samples.
    """

    missing: bool
    may_come: bool
    by_hand: bool


def streams_needed(connection: Connection, activity_id: int) -> StreamsNeeded:
    """Check whether a stored activity has its samples; a deleted activity misses none."""
    query = (
        select(
            lacks_samples().label("missing"),
            and_(expects_samples(), or_(_may_be_unready(database_time()), _has_news())).label("may_come"),
            activities.c.manual.is_(True).label("by_hand"),
        )
        .select_from(activities)
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(activities.c.id == activity_id)
    )
    row = connection.execute(query).first()
    if row is None:
        return StreamsNeeded(missing=False, may_come=False, by_hand=False)
    return StreamsNeeded(**row._asdict())


def lacks_samples() -> ColumnElement[bool]:
    """Select activities whose samples are not stored, or were stored empty while they could be unready.

    Of an activity that the API has not told nothing is asked, nor of one with a file that was not read yet.
    For a query of activities with an outer join of their ``activity_streams``.
    """
    is_empty = activity_streams.c.point_count == 0
    was_unready = and_(is_empty, expects_samples(), _may_be_unready(activity_streams.c.fetched_at))
    return and_(
        or_(activity_streams.c.activity_id.is_(None), was_unready), activities.c.told_by_api, ~waits_to_be_read()
    )


def expects_samples() -> ColumnElement[bool]:
    """Select activities that were recorded: they have a route, a heart rate or a measured power."""
    recorded = or_(
        func.cardinality(activities.c.start_latlng) > 0,
        func.coalesce(activities.c.summary_polyline, "") != "",
        activities.c.has_heartrate.is_(True),
        activities.c.device_watts.is_(True),
    )
    return and_(activities.c.manual.is_not(True), func.coalesce(recorded, false()))


def _may_be_unready(asked_at: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Select activities whose samples Strava may not have had ready when it was asked for them."""
    lasted = func.make_interval(0, 0, 0, 0, 0, 0, func.coalesce(activities.c.elapsed_time, 0))
    return asked_at < activities.c.start_date + lasted + READY_WITHIN


def _has_news() -> ColumnElement[bool]:
    """Select activities of which an event told lately; a ride of years ago may be uploaded, or cropped, today."""
    return exists().where(
        webhook_events.c.object_type == "activity",
        webhook_events.c.owner_id == activities.c.athlete_id,
        webhook_events.c.object_id == activities.c.id,
        webhook_events.c.received_at > database_time() - READY_WITHIN,
    )


def lock_activity(connection: Connection, activity_id: int) -> bool:
    """Lock a stored activity against deletion until the transaction ends; False if the activity is not stored."""
    query = select(activities.c.id).where(activities.c.id == activity_id).with_for_update(read=True, key_share=True)
    return connection.execute(query).first() is not None
