"""What fitdecode reads from a FIT file's records, in the form of a recording."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import fitdecode
import numpy as np

from strava_pipeline.files.recording import Recording, Samples
from strava_pipeline_tests.files.fit.made_up import RECORD

_SEMICIRCLES = 180 / 2**31
_STREAMS = (
    ("altitude", "enhanced_altitude", "altitude", 1.0),
    ("distance", "distance", "distance", 1.0),
    ("speed", "enhanced_speed", "speed", 1.0),
    ("heartrate", "heart_rate", "heart_rate", 1.0),
    ("watts", "power", "power", 1.0),
    ("temp", "temperature", "temperature", 1.0),
    ("latitude", "position_lat", "position_lat", _SEMICIRCLES),
    ("longitude", "position_long", "position_long", _SEMICIRCLES),
)


def records_by_fitdecode(data: bytes) -> list[dict[str, Any]]:
    """Return each record's values by name, up to where fitdecode gives up; timestamps as raw seconds."""
    records: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = fitdecode.FitReader(data, check_crc=fitdecode.CrcCheck.DISABLED)
        with contextlib.suppress(fitdecode.FitError):
            records.extend(
                _values(frame)
                for frame in reader
                if frame.frame_type == fitdecode.FIT_FRAME_DATA and frame.global_mesg_num == RECORD
            )
    return records


def assert_same_records(recording: Recording, records: list[dict[str, Any]]) -> None:
    """Check samples and channels of all records against fitdecode's."""
    assert recording.record_count == len(records)
    times = _series(records, "timestamp")
    np.testing.assert_array_equal(recording.time, times - times[0])
    for stream, name, other, scale in _STREAMS:
        first, second = _series(records, name), _series(records, other)
        _assert_close(getattr(recording, stream), np.where(np.isnan(first), second, first) * scale)
    fraction = _series(records, "fractional_cadence")
    _assert_close(recording.cadence, _series(records, "cadence") + np.where(np.isnan(fraction), 0, fraction))
    for channel in recording.channels:
        name, _, element = channel.name.rpartition("_")
        is_element = element.isdigit() and name in records[-1]
        theirs = _series(records, name, int(element) - 1) if is_element else _series(records, channel.name)
        _assert_close(channel.values, theirs)


def _assert_close(ours: Samples | None, theirs: Samples) -> None:
    np.testing.assert_allclose(np.full(len(theirs), np.nan) if ours is None else ours, theirs, rtol=1e-12)


def _values(frame: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    # Fields that stand in the record come after what is made from others.
    for field in sorted(frame.fields, key=lambda field: field.field_def is not None):
        is_number = isinstance(field.value, int | float | tuple)
        value = field.value if is_number and field.name != "timestamp" else field.raw_value
        if value is not None or field.name not in values:
            values[field.name] = value
    return values


def _series(records: list[dict[str, Any]], name: str, element: int = 0) -> Samples:
    picked = [record.get(name) for record in records]
    numbers = [value[element] if isinstance(value, tuple) else value for value in picked]
    return np.array([np.nan if number is None else number for number in numbers], np.float64)
