"""Maps Strava's answer of streams to the streams that are stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.mapping.fields import flag, integer, number, position
from strava_pipeline.streams import Streams

SERIES: dict[str, Callable[[Any], Any]] = {
    "time": integer,
    "distance": number,
    "altitude": number,
    "velocity_smooth": number,
    "heartrate": number,
    "cadence": number,
    "watts": number,
    "temp": number,
    "moving": flag,
    "grade_smooth": number,
}
# The types of JSON values that need no conversion.
_FITTING: dict[Callable[[Any], Any], set[type]] = {
    integer: {int, NoneType},
    number: {int, float, NoneType},
    flag: {bool, NoneType},
}


def map_streams(athlete_id: int, activity_id: int, answer: Any) -> Streams:
    """Return one list per stream, with streams of unknown types under ``other``; without streams there are 0 points.

    ``answer``: an object with a key for each type, or the list of older answers. ``RejectedRequest`` names the stream
    that does not fit.
    """
    data = _by_type(activity_id, answer)
    known: dict[str, Any] = {name: _converted(activity_id, name, data.pop(name, None)) for name in SERIES}
    latitude, longitude = _positions(activity_id, data.pop("latlng", None))
    lengths = [len(series) for series in (*known.values(), latitude) if series is not None]
    return Streams(
        activity_id=activity_id,
        athlete_id=athlete_id,
        point_count=max(lengths, default=0),
        **known,
        latitude=latitude,
        longitude=longitude,
        other=data or None,
    )


def _by_type(activity_id: int, answer: Any) -> dict[str, list[Any]]:
    if isinstance(answer, list):
        streams = [(entry.get("type") if isinstance(entry, dict) else None, entry) for entry in answer]
    elif isinstance(answer, dict):
        streams = list(answer.items())
    else:
        raise RejectedRequest(f"activity {activity_id}: the streams are neither an object nor a list")
    data = {}
    for name, stream in streams:
        values = stream.get("data") if isinstance(stream, dict) else None
        if not isinstance(name, str) or not isinstance(values, list):
            raise RejectedRequest(f"activity {activity_id}: stream {str(name)[:40]!r} holds no list of data")
        data[name] = values
    return data


def _converted(activity_id: int, name: str, values: list[Any] | None) -> list[Any] | None:
    if values is None or _fit_as_they_are(values, SERIES[name]):
        return values
    convert = SERIES[name]
    try:
        return [None if value is None else convert(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise RejectedRequest(f"activity {activity_id}: stream {name} holds a value that does not fit") from None


def _fit_as_they_are(values: list[Any], convert: Callable[[Any], Any]) -> bool:
    """Whether a series needs no conversion, found without a call per sample: streams have thousands of samples."""
    if not set(map(type, values)) <= _FITTING[convert]:
        return False
    if convert is flag:
        return True
    told = [value for value in values if value is not None]
    try:
        # If the least and the greatest value fit, all do. NaN has no order: with it, every value is checked.
        for value in (min(told), max(told)) if told and all(map(math.isfinite, told)) else told:
            convert(value)
    except (ValueError, OverflowError):
        return False
    return True


def _positions(
    activity_id: int, values: list[Any] | None
) -> tuple[list[float | None], list[float | None]] | tuple[None, None]:
    if values is None:
        return None, None
    if set(map(type, values)) == {list} and set(map(len, values)) == {2}:
        latitudes, longitudes = map(list, zip(*values, strict=True))
        if _fit_as_they_are(latitudes, number) and _fit_as_they_are(longitudes, number):
            return latitudes, longitudes
    try:
        pairs: list[Sequence[float | None]] = [position(value) or (None, None) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise RejectedRequest(f"activity {activity_id}: stream latlng holds a value that does not fit") from None
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
