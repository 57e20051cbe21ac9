"""Laps as a device counted them, for activities whose laps no detail of Strava's tells."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, select

from strava_pipeline.warehouse.archives.file_streams import is_shaped_so
from strava_pipeline.warehouse.archives.sources import load_files
from strava_pipeline.warehouse.bulk import store_plainly
from strava_pipeline.warehouse.schema.archive_tables import recordings
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, laps
from strava_pipeline.warehouse.states import PayloadKind

_a, _r, _s = activities.c, recordings.c, activity_streams.c


def store_file_laps(connection: Connection, activity_ids: Collection[int]) -> None:
    """Replace the laps that were made of files by those of the file that counts most, where no detail tells laps."""
    detailed = select(payloads.c.activity_id).where(
        any_of(payloads.c.activity_id, activity_ids), payloads.c.kind == PayloadKind.DETAIL
    )
    query = (
        select(
            _r.activity_id, _r.recording_id, _r.athlete_id, _r.laps,
            _a.start_date, _a.start_date_local, _a.elapsed_time, _s.time,
        )
        .join(activities, _a.id == _r.activity_id)
        .outerjoin(activity_streams, _s.activity_id == _r.activity_id)
        .where(any_of(_r.activity_id, activity_ids), is_shaped_so(), _r.activity_id.not_in(detailed))
    )  # fmt: skip
    read = {(row.activity_id, row.recording_id): row for row in connection.execute(query) if row.laps}
    counted = load_files(connection, {activity_id for activity_id, _ in read}) if read else {}
    made = []
    for activity_id, files in counted.items():
        best = next((each.recording_id for each in files if (activity_id, each.recording_id) in read), None)
        if best is not None:
            made += _laps(read[activity_id, best])
    connection.execute(delete(laps).where(and_(any_of(laps.c.activity_id, activity_ids), laps.c.id < 0)))
    store_plainly(connection, laps, made)


def _laps(row: Any) -> list[dict[str, Any]]:
    """The laps within the activity; their numbers are those that the device gave them."""
    end, times = row.elapsed_time, _known(row.time)
    return [
        _lap(row, number, told, times)
        for number, told in enumerate(row.laps, start=1)
        if told["start_s"] is not None
        and told["start_s"] + (told["elapsed_s"] or 0) >= 0
        and (end is None or told["start_s"] < max(end, 1))
    ]


def _lap(row: Any, number: int, told: Mapping[str, Any], times: Sequence[int]) -> dict[str, Any]:
    begin = max(0.0, told["start_s"])
    elapsed = told["elapsed_s"]
    start: datetime = row.start_date
    local: datetime | None = row.start_date_local
    first, last = _samples(times, begin, None if elapsed is None else told["start_s"] + elapsed)
    return {
        "activity_id": row.activity_id,
        "id": -number,
        "athlete_id": row.athlete_id,
        "name": f"Lap {number}",
        "lap_index": number,
        "split": number,
        "distance": told["distance_m"],
        "elapsed_time": None if elapsed is None else round(elapsed),
        "moving_time": None if told["timer_s"] is None else round(told["timer_s"]),
        "start_date": start + timedelta(seconds=round(begin)),
        "start_date_local": None if local is None else local + timedelta(seconds=round(begin)),
        "start_index": first,
        "end_index": last,
        "total_elevation_gain": told["ascent_m"],
        "average_speed": told["average_speed_mps"],
        "max_speed": told["max_speed_mps"],
        "average_heartrate": told["average_heartrate_bpm"],
        "max_heartrate": told["max_heartrate_bpm"],
        "average_cadence": told["average_cadence_rpm"],
        "average_watts": told["average_power_w"],
    }


def _known(times: Sequence[int | None] | None) -> list[int]:
    """The times of all samples; none if one of them is missing."""
    known = [time for time in times or () if time is not None]
    return known if times is not None and len(known) == len(times) else []


def _samples(times: Sequence[int], begin: float, end: float | None) -> tuple[int | None, int | None]:
    """The first and the last sample of a lap; ``None`` without samples."""
    if not times or end is None:
        return None, None
    first = bisect_left(times, begin)
    last = bisect_left(times, end) - 1
    return min(first, len(times) - 1), max(min(last, len(times) - 1), min(first, len(times) - 1))
