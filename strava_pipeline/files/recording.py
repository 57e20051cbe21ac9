"""What one recording tells, whatever its format: FIT, TCX and GPX are read into this.

Nothing here is cleaned or filled: :mod:`.shaping` makes streams in Strava's shape of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.files.file_kinds import FileKind

Samples = NDArray[np.float64]


def recording_id(plain: bytes) -> int:
    """Return the id of a recording: the first 63 bits of the SHA-256 of its unpacked bytes, never 0."""
    return int.from_bytes(hashlib.sha256(plain).digest()[:8], "big") >> 1 or 1


class Damage(StrEnum):
    """What is wrong with a recording of which the rest was read."""

    CUT = "cut"  # ends within a record
    CHECKSUM = "checksum"  # a checksum differs, where it was asked for
    EXTRA_BYTES = "extra_bytes"  # something that is no recording follows
    BAD_FIELD = "bad_field"  # a field whose size does not fit its type is left out
    UNDEFINED = "undefined"  # a record of a kind that the file never defined ends the reading
    BAD_VALUE = "bad_value"  # values that cannot be, such as a latitude of 100, are left out
    CUT_GZIP = "cut_gzip"  # the compressed data end too early


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A series that Strava has no stream for, of shape (n,), NaN where a record has none.

    ``name``: as the FIT profile or the device names it, such as ``vertical_oscillation``. ``unit``: as the file or the
    profile tells it, ``None`` if neither does.
    """

    name: str
    unit: str | None
    values: Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sport of a recording; a triathlon has several. ``None``: not told.

    ``sport``: in Strava's words (``Ride``). Times s, distance, ascent and descent m, temperature degrees Celsius.
    """

    start: datetime | None = None
    sport: str | None = None
    elapsed_s: float | None = None
    timer_s: float | None = None
    distance_m: float | None = None
    ascent_m: float | None = None
    descent_m: float | None = None
    average_temperature_c: float | None = None
    pool_length_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLap:
    """A lap as the device counted it. ``start_s``: since the recording's start; units as of :class:`Session`."""

    start_s: float | None = None
    elapsed_s: float | None = None
    timer_s: float | None = None
    distance_m: float | None = None
    ascent_m: float | None = None
    average_speed_mps: float | None = None
    max_speed_mps: float | None = None
    average_heartrate_bpm: float | None = None
    max_heartrate_bpm: float | None = None
    average_cadence_rpm: float | None = None
    average_power_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLength:
    """A length that was swum in a pool. ``start_s``: since the recording's start; ``is_active``: not a rest."""

    start_s: float | None = None
    elapsed_s: float | None = None
    strokes: int | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """When the device's timer stood still. Seconds since the recording's start."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What recorded. ``has_barometer``: ``None`` where the file does not tell."""

    creator: str | None = None
    manufacturer: str | None = None
    product: str | None = None
    has_barometer: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One record (FIT) or point (TCX, GPX) after the other, as they stand in the file.

    ``start``: UTC; ``None`` where the device's clock had no date. ``time``: s since ``start``, or since the first
    record. Samples have shape (n,), NaN where a record tells nothing, and are ``None`` if no record does. Units:
    latitude and longitude degrees, altitude m, distance m, speed m/s, heartrate bpm, cadence rpm (runs: of one leg),
    watts W, temp degrees Celsius. ``local_offset_s``: of the watch's clock from UTC. ``sport``: in Strava's words, of
    the whole file; ``name``: what the file calls itself.
    """

    kind: FileKind
    start: datetime | None
    time: Samples
    latitude: Samples | None = None
    longitude: Samples | None = None
    altitude: Samples | None = None
    distance: Samples | None = None
    speed: Samples | None = None
    heartrate: Samples | None = None
    cadence: Samples | None = None
    watts: Samples | None = None
    temp: Samples | None = None
    channels: tuple[Channel, ...] = ()
    sessions: tuple[Session, ...] = ()
    laps: tuple[RecordedLap, ...] = ()
    lengths: tuple[PoolLength, ...] = ()
    pauses: tuple[Pause, ...] = ()
    device: Device = field(default_factory=Device)
    local_offset_s: int | None = None
    sport: str | None = None
    name: str | None = None
    damage: tuple[Damage, ...] = ()

    @property
    def record_count(self) -> int:
        return len(self.time)
