"""The samples of one activity, as Strava returns them and as the tables hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Numbers = list[float | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """One list per stream; ``None`` for a stream that was not recorded, and in a list for a value that is missing.

    Units: time s and distance m since the start, latitude and longitude degrees, altitude m, velocity_smooth m/s,
    heartrate bpm, cadence rpm, watts W, temp degrees Celsius, grade_smooth percent. ``point_count``: samples of the
    longest stream; ``other``: streams of other types, by type.
    """

    activity_id: int
    athlete_id: int
    point_count: int
    time: list[int | None] | None = None
    distance: Numbers = None
    latitude: Numbers = None
    longitude: Numbers = None
    altitude: Numbers = None
    velocity_smooth: Numbers = None
    heartrate: Numbers = None
    cadence: Numbers = None
    watts: Numbers = None
    temp: Numbers = None
    moving: list[bool | None] | None = None
    grade_smooth: Numbers = None
    other: dict[str, list[Any]] | None = None
