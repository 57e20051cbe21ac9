"""Makes streams of a recording in the shape that Strava gives them.

One sample a record, in order of time; time in whole seconds since the activity's start, altitude to 0.1 m, distance to
0.1 m, position to six decimals, everything else in whole numbers. Missing heart rates are the last one; missing
distances and positions, and those that stand still while the device says that it moves, lie on a line between their
neighbours. A recording without distance gets the way along its positions. ``velocity_smooth``, ``grade_smooth`` and
``moving`` are Strava's own, and are not made up here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Recording, Samples
from strava_pipeline.files.records import Records, in_order
from strava_pipeline.files.series import (
    APP_STEP_M,
    between,
    hold_last,
    is_stuck,
    positions_between,
    way_along,
    way_in_steps,
)
from strava_pipeline.files.window import Row, Window, window_of
from strava_pipeline.streams import Numbers, Streams

# A distance that begins further on, m, goes on from the leg before.
_FIRST_METRES = 100.0
_DEGREE_DECIMALS = 6
# What GPX that Strava's app recorded begins its creator with.
_STRAVAS_APP = "StravaGPX"


class Source(StrEnum):
    """Where a stream comes from."""

    RECORDED = "recorded"  # as it stands in the file
    COMPUTED = "computed"  # from other streams
    FILLED = "filled"  # recorded, with missing samples filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """Streams of one activity. ``start``: UTC, where ``time`` is 0; ``None`` if nobody knows it.

    ``sources``: of each stream there is. ``is_cropped``: the file has more than the activity. ``records``: the record
    of each sample, as an index into the recording's own series, shape (n,). ``shift_s``: what must be taken from times
    of the recording (laps, pauses) to count since ``start``.
    """

    streams: Streams
    start: datetime | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    is_cropped: bool = False
    records: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    shift_s: float = 0.0


def shape(
    recording: Recording,
    *,
    start: datetime | None,
    elapsed_s: int | None,
    distance_m: float | None,
    activity_id: int,
    athlete_id: int,
) -> Shaped:
    """Return the streams of an activity, of which Strava tells the start (UTC), elapsed time and distance, or nothing.

    A recording without usable times gives no streams.
    """
    records = in_order(recording)
    if records is None:
        return Shaped(streams=Streams(activity_id=activity_id, athlete_id=athlete_id, point_count=0), start=start)
    series, sources = _without_holes(records, recording)
    row = Row(start=start, elapsed_s=elapsed_s, distance_m=distance_m)
    window = window_of(recording, records.seconds, series.get("distance"), row)
    kept = slice(window.begin, window.end)
    series = {name: values[kept] for name, values in series.items()}
    if "distance" in series:
        series["distance"] = _from_start(series["distance"], window, distance_m)
    seconds = records.seconds[kept]
    streams = _streams(seconds - window.origin, series, activity_id, athlete_id)
    return Shaped(
        streams=streams,
        start=datetime.fromtimestamp(window.origin, UTC) if window.is_by_file else start,
        sources={"time": Source.RECORDED}
        | {name: source for name, source in sources.items() if getattr(streams, name) is not None},
        is_cropped=window.is_cropped,
        records=records.places[kept],
        shift_s=window.origin - records.epoch_s,
    )


def _without_holes(records: Records, recording: Recording) -> tuple[dict[str, Samples], dict[str, Source]]:
    """Return the series that become streams, and where each comes from."""
    series = dict(records.series)
    speed = series.pop("speed", None)
    sources = dict.fromkeys(series, Source.RECORDED)

    def put(name: str, filled: Samples) -> None:
        if not np.array_equal(filled, records.series[name], equal_nan=True):
            sources[name] = Source.FILLED
        series[name] = filled

    distance = series.get("distance")
    latitude, longitude = _fixes(series)
    stuck = is_stuck(latitude, longitude, distance, speed)
    if distance is not None:
        whole = _from_nothing(_continued(distance, records.seconds, recording))
        put("distance", between(np.where(stuck, np.nan, whole) if stuck is not None else whole, records.seconds))
    if latitude is not None and longitude is not None:
        if stuck is not None:
            latitude, longitude = np.where(stuck, np.nan, latitude), np.where(stuck, np.nan, longitude)
        latitude, longitude = positions_between(latitude, longitude, records.seconds)
        put("latitude", latitude)
        put("longitude", longitude)
        if distance is None or not (distance > 0).any():
            series["distance"] = _way(latitude, longitude, records.seconds, recording)
            sources["distance"] = Source.COMPUTED
    if "heartrate" in series:
        put("heartrate", hold_last(series["heartrate"]))
    return series, sources


def _way(latitude: Samples, longitude: Samples, seconds: Samples, recording: Recording) -> Samples:
    if recording.kind is FileKind.GPX and (recording.device.creator or "").startswith(_STRAVAS_APP):
        return way_in_steps(latitude, longitude, seconds, APP_STEP_M)
    return way_along(latitude, longitude)


def _fixes(series: dict[str, Samples]) -> tuple[Samples | None, Samples | None]:
    """Return the positions, without those at 0/0, which devices write before they know one."""
    latitude, longitude = series.pop("latitude", None), series.pop("longitude", None)
    if latitude is None or longitude is None:
        return None, None
    none = (np.round(latitude, _DEGREE_DECIMALS) == 0) & (np.round(longitude, _DEGREE_DECIMALS) == 0)
    if (none | np.isnan(latitude)).all():
        return None, None
    return np.where(none, np.nan, latitude), np.where(none, np.nan, longitude)


def _continued(distance: Samples, seconds: Samples, recording: Recording) -> Samples:
    """Return the distance of a file of several sessions, of which some begin at 0 again, as one way."""
    for session in recording.sessions[1:]:
        if session.start is None:
            continue
        first = int(np.searchsorted(seconds, math.floor(session.start.timestamp())))
        before, after = distance[:first], distance[first:]
        before, after = before[np.isfinite(before)], after[np.isfinite(after)]
        if len(before) and len(after) and after[0] < before[-1]:
            distance = np.concatenate([distance[:first], distance[first:] + before[-1]])
    return distance


def _from_nothing(distance: Samples) -> Samples:
    """Return a distance that grows from 0 where the first records lack it: a pool's is told by length."""
    known = np.flatnonzero(np.isfinite(distance))
    if known[0] == 0 or distance[known[0]] > _FIRST_METRES:
        return distance
    return np.concatenate([[0.0], distance[1:]])


def _from_start(distance: Samples, window: Window, told: float | None) -> Samples:
    """Return the distance since the start of what is kept."""
    first, last = distance[0], distance[-1]
    goes_on = first > _FIRST_METRES and (told is None or abs(last - first - told) < abs(last - told))
    return distance - first if window.begin > 0 or goes_on else distance


def _streams(seconds: Samples, series: dict[str, Samples], activity_id: int, athlete_id: int) -> Streams:
    beats = _whole(series.get("heartrate"))
    return Streams(
        activity_id=activity_id,
        athlete_id=athlete_id,
        point_count=len(seconds),
        time=seconds.astype(np.int64).tolist(),
        distance=_decimals(series.get("distance"), 1),
        latitude=_decimals(series.get("latitude"), _DEGREE_DECIMALS),
        longitude=_decimals(series.get("longitude"), _DEGREE_DECIMALS),
        altitude=_decimals(series.get("altitude"), 1),
        # A device that waits for a sensor writes zeros.
        heartrate=beats if beats is not None and any(beats) else None,
        # Strava leaves out the fraction that a FIT tells beside the cadence.
        cadence=_whole(np.floor(series["cadence"])) if "cadence" in series else None,
        watts=_whole(series.get("watts")),
        temp=_whole(series.get("temp")),
    )


def _decimals(values: Samples | None, decimals: int) -> Numbers:
    """Return a rounded series, or ``None`` if no value is known. Adding 0.0 makes -0.0 to 0.0."""
    if values is None:
        return None
    known = np.isfinite(values)
    if not known.any():
        return None
    rounded: list[float | None] = (np.round(values, decimals) + 0.0).tolist()
    return rounded if known.all() else _with_none(rounded, known)


def _whole(values: Samples | None) -> Numbers:
    if values is None:
        return None
    known = np.isfinite(values)
    if not known.any():
        return None
    rounded: list[float | None] = np.round(np.where(known, values, 0)).astype(np.int64).tolist()
    return rounded if known.all() else _with_none(rounded, known)


def _with_none(values: list[float | None], known: NDArray[np.bool_]) -> Numbers:
    return [value if is_known else None for value, is_known in zip(values, known.tolist(), strict=True)]
