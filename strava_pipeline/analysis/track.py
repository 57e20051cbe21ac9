"""The samples of an activity as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.streams import Streams

Samples = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Track:
    """Samples of one activity, each of shape (n,) or ``None``; NaN where a sample is missing.

    Units: time s, distance m, latitude and longitude degrees, altitude m, speed m/s, heart_rate bpm,
    cadence rpm, power W, temperature degrees Celsius, grade percent; moving is 1.0 or 0.0.
    """

    time: Samples | None = None
    distance: Samples | None = None
    latitude: Samples | None = None
    longitude: Samples | None = None
    altitude: Samples | None = None
    speed: Samples | None = None
    heart_rate: Samples | None = None
    cadence: Samples | None = None
    power: Samples | None = None
    temperature: Samples | None = None
    moving: Samples | None = None
    grade: Samples | None = None

    @property
    def point_count(self) -> int:
        return max((len(s) for s in vars(self).values() if s is not None), default=0)


_STREAMS = {
    "time": "time",
    "distance": "distance",
    "latitude": "latitude",
    "longitude": "longitude",
    "altitude": "altitude",
    "speed": "velocity_smooth",
    "heart_rate": "heartrate",
    "cadence": "cadence",
    "power": "watts",
    "temperature": "temp",
    "moving": "moving",
    "grade": "grade_smooth",
}


def track_from_streams(streams: Streams) -> Track:
    """Return the track of an activity's streams; shorter series are padded with NaN."""
    count = streams.point_count
    return Track(**{field: _samples(getattr(streams, stream), count) for field, stream in _STREAMS.items()})


def _samples(values: list[Any] | None, count: int) -> Samples | None:
    if not values:
        return None
    samples = np.full(count, np.nan)
    samples[: len(values)] = np.array(values, dtype=np.float64)  # None becomes NaN
    return samples
