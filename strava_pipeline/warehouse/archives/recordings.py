"""Recordings of activities: which files are to be read, and what is stored of a file that was read.

A file is read for an activity: its samples are those from the activity's start to its end. Where start, length or
distance of the activity change, it is to be read again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select, tuple_, update

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.file_laps import store_file_laps
from strava_pipeline.warehouse.archives.file_streams import (
    STREAMS,
    Files,
    drop_figures,
    is_shaped_so,
    shape_of,
    used_files,
)
from strava_pipeline.warehouse.archives.sources import load_files
from strava_pipeline.warehouse.binary_arrays import doubles, integers
from strava_pipeline.warehouse.bulk import FEW, store_plainly
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import (
    archive_files,
    recording_bytes,
    recording_channels,
    recordings,
)
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import StreamSource

if TYPE_CHECKING:  # they load numerics, which most runs do not need
    from strava_pipeline.files.recording import Recording
    from strava_pipeline.files.shaping import Shaped

_a, _f, _r, _s = activities.c, archive_files.c, recordings.c, activity_streams.c
# Columns of ``recordings`` that a file of several sessions tells of each.
_TOTALS = ("elapsed_s", "timer_s", "distance_m", "ascent_m", "descent_m")


@dataclass(frozen=True, kw_only=True)
class ToRead:
    """A recording that is to be read for an activity, of which Strava tells start (UTC), length and distance (m).

    All ``None`` for an activity that only the file tells of: it is the whole file.
    """

    athlete_id: int
    activity_id: int
    recording_id: int
    start: datetime | None
    elapsed_s: int | None
    distance_m: float | None


# What was read for an activity, and the streams that were made of it.
Found = tuple[ToRead, "Recording", "Shaped"]


def to_read(connection: Connection, athlete_id: int, of: Collection[int] | Span) -> list[ToRead]:
    """Return the recordings of these activities, or of a span's, that are to be read, the newest activity first.

    Those that were never read, were read for another start, length or distance, or whose samples are wanted again.
    """
    chosen = _in_span(of) if isinstance(of, Span) else any_of(_a.id, of)
    has_bytes = exists().where(
        recording_bytes.c.athlete_id == _f.athlete_id, recording_bytes.c.recording_id == _f.recording_id
    )
    lacks_samples = and_(or_(_s.activity_id.is_(None), _s.point_count == 0), _r.sample_count > 0)
    start, elapsed, distance = shape_of()
    query = (
        select(_f.athlete_id, _f.activity_id, _f.recording_id, start, elapsed, distance, _a.start_date)
        .join(activities, _a.id == _f.activity_id)
        .outerjoin(recordings, and_(_r.activity_id == _f.activity_id, _r.recording_id == _f.recording_id))
        .outerjoin(activity_streams, _s.activity_id == _f.activity_id)
        .where(_f.athlete_id == athlete_id, _a.athlete_id == athlete_id, chosen, _f.fault.is_(None), has_bytes)
        .where(or_(_r.recording_id.is_(None), ~is_shaped_so(), lacks_samples))
        .distinct()
        .order_by(_a.start_date.desc(), _f.activity_id, _f.recording_id)
    )
    return [
        ToRead(
            athlete_id=row[0],
            activity_id=row[1],
            recording_id=row[2],
            start=row[3],
            elapsed_s=row[4],
            distance_m=row[5],
        )
        for row in connection.execute(query)
    ]


def _in_span(span: Span) -> ColumnElement[bool]:
    return and_(_a.start_date >= span.start, _a.start_date < span.end)


def waits_to_be_read() -> ColumnElement[bool]:
    """The condition that an activity has a file that was not read yet: its samples may come from there."""
    read = exists().where(_r.activity_id == _f.activity_id, _r.recording_id == _f.recording_id)
    has_bytes = exists().where(
        recording_bytes.c.athlete_id == _f.athlete_id, recording_bytes.c.recording_id == _f.recording_id
    )
    return and_(
        _a.file_taken_at.is_not(None),
        exists().where(_f.activity_id == _a.id, _f.fault.is_(None), has_bytes, ~read),
    )


def store_recording(connection: Connection, read: ToRead, recording: Recording, shaped: Shaped) -> bool:
    """Store a recording that was read for an activity; as :func:`store_recordings`."""
    return bool(store_recordings(connection, read.athlete_id, [(read, recording, shaped)]))


def store_recordings(connection: Connection, athlete_id: int, found: Sequence[Found]) -> int:
    """Store recordings that were read for activities; their samples and laps where Strava's API tells none.

    Left out are those whose activity has another start, length or distance by now, or whose file is not its any more:
    :func:`to_read` tells what is to be read. Returns how many were stored. ``NeedsReauthorization`` if the athlete has
    disconnected.
    """
    if not found:
        return 0
    lock_activities(connection, athlete_id)
    refuse_rows_of_revoked(connection, [athlete_id])
    ids = sorted({read.activity_id for read, _, _ in found})
    # Whoever stores samples of the API holds the activity's row: they are waited for, since theirs count.
    connection.execute(select(_a.id).where(any_of(_a.id, ids)).order_by(_a.id).with_for_update())
    start, elapsed, distance = shape_of()
    shapes = {
        row[0]: tuple(row[1:])
        for row in connection.execute(select(_a.id, start, elapsed, distance).where(any_of(_a.id, ids)))
    }
    files = load_files(connection, ids)
    theirs = {(activity_id, file.recording_id) for activity_id, ranked in files.items() for file in ranked}
    fitting = {
        (read.activity_id, read.recording_id): (read, recording, shaped)
        for read, recording, shaped in found
        if shapes.get(read.activity_id) == (read.start, read.elapsed_s, read.distance_m)
        and (read.activity_id, read.recording_id) in theirs
    }
    if not fitting:
        return 0
    read_at = connection.execute(select(database_time())).scalar()
    rows = [_recording_row(*each) | {"read_at": read_at} for each in fitting.values()]
    store_plainly(connection, recordings, rows)
    _store_channels(connection, fitting)
    fresh = {activity_id: files[activity_id] for activity_id, _ in fitting}
    used = used_files(connection, fresh)
    _store_streams(connection, {key: each for key, each in fitting.items() if used.get(key[0]) == key[1]}, fresh)
    store_file_laps(connection, list(fresh))
    mark_changed(connection, list(fresh))
    return len(fitting)


def note_samples_of_api(connection: Connection, activity_id: int) -> None:
    """Note that an activity's samples come from the API by now; its laps, if they are a file's, count those."""
    theirs = _r.activity_id == activity_id
    if connection.execute(select(_r.recording_id).where(theirs).limit(1)).first() is not None:
        connection.execute(update(recordings).where(theirs, _r.is_used).values(is_used=False))
        store_file_laps(connection, [activity_id])


def _recording_row(read: ToRead, recording: Recording, shaped: Shaped) -> dict[str, Any]:
    device, sessions = recording.device, recording.sessions
    of_sessions = {name: _total(getattr(session, name) for session in sessions) for name in _TOTALS}
    lengths = {session.pool_length_m for session in sessions if session.pool_length_m is not None}
    laps = [asdict(lap) | {"start_s": _shifted(lap.start_s, shaped)} for lap in recording.laps]
    return {
        "activity_id": read.activity_id,
        "recording_id": read.recording_id,
        "athlete_id": read.athlete_id,
        "kind": recording.kind,
        "creator": device.creator,
        "manufacturer": device.manufacturer,
        "product": device.product,
        "has_barometer": device.has_barometer,
        "start_date": recording.start,
        "utc_offset": recording.local_offset_s,
        "record_count": recording.record_count,
        **of_sessions,
        "average_temp_c": next(
            (each.average_temperature_c for each in sessions if each.average_temperature_c is not None), None
        ),
        "pool_length_m": min(lengths, default=None),
        "pauses": json.dumps(
            [[_shifted(pause.start_s, shaped), _shifted(pause.end_s, shaped)] for pause in recording.pauses]
        ),
        "laps": json.dumps(laps),
        "sessions": json.dumps([session.sport for session in sessions]),
        "sample_count": shaped.streams.point_count,
        "is_cropped": shaped.is_cropped,
        "is_used": False,
        "damage": [str(each) for each in recording.damage],
        "shaped_start": read.start,
        "shaped_elapsed": read.elapsed_s,
        "shaped_distance": read.distance_m,
    }


def _total(told: Iterable[float | None]) -> float | None:
    known = [value for value in told if value is not None]
    return sum(known) if known else None


def _shifted(seconds: float | None, shaped: Shaped) -> float | None:
    """A time of the recording since the activity's start."""
    return None if seconds is None else round(seconds - shaped.shift_s, 3)


def _store_channels(connection: Connection, fitting: Mapping[tuple[int, int], Found]) -> None:
    c = recording_channels.c
    connection.execute(delete(recording_channels).where(tuple_(c.activity_id, c.recording_id).in_(list(fitting))))
    rows = [row for each in fitting.values() for row in _channel_rows(*each)]
    # Each row holds a long series: a few at a time go as parameters, in binary form.
    for at in range(0, len(rows), FEW):
        store_plainly(connection, recording_channels, rows[at : at + FEW])


def _channel_rows(read: ToRead, recording: Recording, shaped: Shaped) -> list[dict[str, Any]]:
    key = {"activity_id": read.activity_id, "recording_id": read.recording_id, "athlete_id": read.athlete_id}
    # Postgres' NaN would count in every mean: where there is no value, there is NULL.
    by_name = {
        channel.name: (channel.unit, doubles(channel.values[shaped.records]))
        for channel in recording.channels
        if len(shaped.records)
    }
    rows: list[dict[str, Any]] = [
        key | {"name": name, "unit": unit, "values": values} for name, (unit, values) in by_name.items()
    ]
    if recording.lengths:
        starts = [_shifted(length.start_s, shaped) for length in recording.lengths]
        rows += [
            key | {"name": f"pool_length_{name}", "unit": unit, "values": doubles(values)}
            for name, unit, values in (
                ("start", "s", starts),
                ("elapsed", "s", [length.elapsed_s for length in recording.lengths]),
                ("strokes", None, [length.strokes for length in recording.lengths]),
                ("active", None, [float(length.is_active) for length in recording.lengths]),
            )
        ]
    return list({row["name"]: row for row in rows}.values())


def _store_streams(connection: Connection, used: Mapping[tuple[int, int], Found], files: Files) -> None:
    """Make activities' samples of these files, in place of another file's, or of none."""
    if not used:
        return
    ids = [activity_id for activity_id, _ in used]
    drop_figures(connection, ids)
    store_plainly(connection, activity_streams, [_stream_row(*each, files) for each in used.values()])
    is_used = tuple_(_r.activity_id, _r.recording_id).in_(list(used))
    others = and_(any_of(_r.activity_id, ids), _r.is_used != is_used)
    connection.execute(update(recordings).where(others).values(is_used=is_used))
    mark_outdated(connection, months_of_samples(connection, ids))


def _stream_row(read: ToRead, _: Recording, shaped: Shaped, files: Files) -> dict[str, Any]:
    streams: dict[str, Any] = {name: getattr(shaped.streams, name) for name in STREAMS}
    series = {name: doubles(values) for name, values in streams.items() if name not in {"time", "moving"}}
    taken_at = next(each.taken_at for each in files[read.activity_id] if each.recording_id == read.recording_id)
    return {
        "activity_id": read.activity_id,
        "athlete_id": read.athlete_id,
        "point_count": shaped.streams.point_count,
        "time": integers(streams["time"]),
        "moving": streams["moving"],
        **series,
        "other": None,
        "source": StreamSource.FILE,
        "recording_id": read.recording_id,
        "stream_sources": json.dumps({name: str(source) for name, source in sorted(shaped.sources.items())}),
        "fetched_at": taken_at,
    }
