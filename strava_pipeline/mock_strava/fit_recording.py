"""FIT files of generated outings, with the messages that a watch or a bike computer writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import numpy as np

from strava_pipeline.mock_strava.fit_file import Base, FitField, FitFile
from strava_pipeline.mock_strava.tracks import Integers, Track

EPOCH: Final = datetime(1989, 12, 31, tzinfo=UTC)
# Numbers of messages, of the local types that stand for them here, and of events.
_FILE_ID, _SESSION, _LAP, _RECORD, _EVENT, _DEVICE_INFO, _ACTIVITY = 0, 18, 19, 20, 21, 23, 34
_TIMESTAMP: Final = FitField(253, Base.UINT32)
_TIMER, _START, _STOP, _STOP_ALL = 0, 0, 1, 4
_LOCAL: Final = {
    _FILE_ID: 0, _DEVICE_INFO: 1, _EVENT: 2, _RECORD: 3, _LAP: 4, _SESSION: 5, _ACTIVITY: 6,
}  # fmt: skip
_ACTIVITY_FILE, _LOCAL_SOURCE, _BAROMETER = 4, 5, 4
_SEMICIRCLES: Final = 2**31 / 180
# A device that stood still for longer was paused.
_PAUSE_S: Final = 10
_SPORTS: Final = {
    "Ride": (2, 0), "GravelRide": (2, 46), "MountainBikeRide": (2, 8), "VirtualRide": (2, 58), "Run": (1, 0),
    "TrailRun": (1, 3), "VirtualRun": (1, 58), "Swim": (5, 17), "Walk": (11, 0), "Hike": (17, 0),
}  # fmt: skip
_OTHER_SPORT: Final = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """What writes a file: its manufacturer and product by number, and how its clock differs from UTC, s."""

    manufacturer: int = 1
    product: int = 3121
    has_barometer: bool = True
    local_offset_s: int = 0
    is_big_endian: bool = False
    lap_m: float = 5_000.0


_RECORDER: Final = Recorder()


def fit_recording(track: Track, start: datetime, sport_type: str, recorder: Recorder = _RECORDER) -> bytes:
    """Return an outing as a FIT file, one record a sample, with laps, pauses and one session."""
    began = int((start - EPOCH).total_seconds())
    moments = began + track.time
    file = FitFile(is_big_endian=recorder.is_big_endian)
    _write_device(file, recorder, began)
    _write_events_and_records(file, track, moments)
    sport = _SPORTS.get(sport_type, _OTHER_SPORT)
    _write_laps(file, track, moments, recorder.lap_m)
    _write_session(file, track, moments, sport)
    ended = int(moments[-1])
    file.define(
        _LOCAL[_ACTIVITY], _ACTIVITY, _TIMESTAMP, FitField(0, Base.UINT32), FitField(1, Base.UINT16),
        FitField(2, Base.ENUM), FitField(5, Base.UINT32),
    )  # fmt: skip
    timer_ms = 1_000 * _timer_s(track, 0, len(moments) - 1)
    file.add(_LOCAL[_ACTIVITY], ended, timer_ms, 1, 0, ended + recorder.local_offset_s)
    return file.to_bytes()


def _write_device(file: FitFile, recorder: Recorder, began: int) -> None:
    file.define(
        _LOCAL[_FILE_ID], _FILE_ID, FitField(0, Base.ENUM), FitField(1, Base.UINT16), FitField(2, Base.UINT16),
        FitField(4, Base.UINT32),
    )  # fmt: skip
    file.add(_LOCAL[_FILE_ID], _ACTIVITY_FILE, recorder.manufacturer, recorder.product, began)
    file.define(
        _LOCAL[_DEVICE_INFO], _DEVICE_INFO, _TIMESTAMP, FitField(0, Base.UINT8), FitField(1, Base.UINT8),
        FitField(2, Base.UINT16), FitField(4, Base.UINT16), FitField(25, Base.ENUM),
    )  # fmt: skip
    file.add(_LOCAL[_DEVICE_INFO], began, 0, None, recorder.manufacturer, recorder.product, _LOCAL_SOURCE)
    if recorder.has_barometer:
        file.add(_LOCAL[_DEVICE_INFO], began, 1, _BAROMETER, recorder.manufacturer, None, _LOCAL_SOURCE)


def _write_events_and_records(file: FitFile, track: Track, moments: Integers) -> None:
    event = _LOCAL[_EVENT]
    file.define(event, _EVENT, _TIMESTAMP, FitField(0, Base.ENUM), FitField(1, Base.ENUM))
    file.add(event, int(moments[0]), _TIMER, _START)
    columns = _columns(track)
    file.define(_LOCAL[_RECORD], _RECORD, _TIMESTAMP, *(field for field, _ in columns))
    resumed = np.flatnonzero(track.steps > _PAUSE_S).tolist()
    for first, last in pairwise([0, *resumed, len(moments)]):
        if first:
            file.add(event, int(moments[first - 1]), _TIMER, _STOP_ALL)
            file.add(event, int(moments[first]), _TIMER, _START)
        file.add_many(_LOCAL[_RECORD], moments[first:last], *(values[first:last] for _, values in columns))
    file.add(event, int(moments[-1]), _TIMER, _STOP)


def _columns(track: Track) -> list[tuple[FitField, Integers]]:
    """Return the fields of a record and their stored values, shape (n,), for streams that were recorded."""
    scaled = (
        (FitField(0, Base.SINT32), track.latitude, _SEMICIRCLES, 0.0),
        (FitField(1, Base.SINT32), track.longitude, _SEMICIRCLES, 0.0),
        (FitField(2, Base.UINT16), track.altitude, 5.0, 500.0),
        (FitField(5, Base.UINT32), track.distance, 100.0, 0.0),
        (FitField(6, Base.UINT16), track.velocity, 1_000.0, 0.0),
        (FitField(3, Base.UINT8), track.heartrate, 1.0, 0.0),
        (FitField(4, Base.UINT8), track.cadence, 1.0, 0.0),
        (FitField(7, Base.UINT16), track.watts, 1.0, 0.0),
        (FitField(13, Base.SINT8), track.temp, 1.0, 0.0),
    )
    return [
        (field, np.round((values + offset) * scale).astype(np.int64))
        for field, values, scale, offset in scaled
        if values is not None
    ]


def _write_laps(file: FitFile, track: Track, moments: Integers, lap_m: float) -> None:
    local = _LOCAL[_LAP]
    file.define(
        local, _LAP, _TIMESTAMP, FitField(2, Base.UINT32), FitField(7, Base.UINT32), FitField(8, Base.UINT32),
        FitField(9, Base.UINT32),
    )  # fmt: skip
    numbers = (track.distance // lap_m).astype(np.int64)
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(moments) - 1]
    for first, last in pairwise(bounds):
        length_cm = round(100 * float(track.distance[last] - track.distance[first]))
        elapsed_ms = 1_000 * int(moments[last] - moments[first])
        timer_ms = 1_000 * _timer_s(track, first, last)
        file.add(local, int(moments[last]), int(moments[first]), elapsed_ms, timer_ms, length_cm)


def _write_session(
    file: FitFile,
    track: Track,
    moments: Integers,
    sport: tuple[int, int],
) -> None:
    local = _LOCAL[_SESSION]
    file.define(
        local, _SESSION, _TIMESTAMP, FitField(2, Base.UINT32), FitField(5, Base.ENUM), FitField(6, Base.ENUM),
        FitField(7, Base.UINT32), FitField(8, Base.UINT32), FitField(9, Base.UINT32), FitField(22, Base.UINT16),
        FitField(23, Base.UINT16),
    )  # fmt: skip
    climbs = np.zeros(1) if track.altitude is None else np.diff(track.altitude)
    up, down = (None, None) if track.altitude is None else (climbs[climbs > 0].sum(), -climbs[climbs < 0].sum())
    began, ended = int(moments[0]), int(moments[-1])
    timer_ms = 1_000 * _timer_s(track, 0, len(moments) - 1)
    length_cm = round(100 * float(track.distance[-1]))
    totals = [None if total is None else round(float(total)) for total in (up, down)]
    file.add(local, ended, began, *sport, 1_000 * (ended - began), timer_ms, length_cm, *totals)


def _timer_s(track: Track, first: int, last: int) -> int:
    """Return the seconds between two samples in which the device was not paused."""
    steps = track.steps[first + 1 : last + 1]
    return int(steps[steps <= _PAUSE_S].sum())
