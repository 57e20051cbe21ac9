"""Samples from the records of a FIT file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from strava_pipeline.files.fit.channels import channels_of
from strava_pipeline.files.fit.columns import Columns, FieldKey, columns_of
from strava_pipeline.files.fit.developer_fields import read_developer_fields
from strava_pipeline.files.fit.messages import Messages
from strava_pipeline.files.fit.profile import (
    ALTITUDE_OFFSET,
    ALTITUDE_SCALE,
    CENTI,
    CHANNELS,
    FRACTION_SCALE,
    MILLI,
    RECORD,
    SEMICIRCLES_DEGREES,
    TIMESTAMP,
    RecordField,
)
from strava_pipeline.files.recording import Channel, Damage, Samples

HIGHEST_LATITUDE: Final = 90.0
# Speed and distance packed into three bytes: twelve bits of each, cm/s and 1/16 m.
_PACKED_BYTES, _PACKED_BITS, _PACKED_NONE = 3, 12, 0xFFF
_HIGHEST_BYTE: Final = 0xFF
_PACKED_DISTANCE_SCALE: Final = 16.0
_STREAM_NUMBERS: Final = frozenset({
    TIMESTAMP, RecordField.LATITUDE, RecordField.LONGITUDE, RecordField.ALTITUDE, RecordField.HEART_RATE,
    RecordField.CADENCE, RecordField.DISTANCE, RecordField.SPEED, RecordField.POWER,
    RecordField.COMPRESSED_SPEED_DISTANCE, RecordField.TEMPERATURE, RecordField.FRACTIONAL_CADENCE,
    RecordField.ENHANCED_SPEED, RecordField.ENHANCED_ALTITUDE,
})  # fmt: skip
_NUMBERS: Final = _STREAM_NUMBERS | CHANNELS.keys()


@dataclass(frozen=True, slots=True)
class Records:
    """Samples of shape (n,), in the units of :class:`.Recording`, ``None`` where no record has a value.

    ``columns``: the fields as the file has them.
    """

    columns: Columns
    latitude: Samples | None
    longitude: Samples | None
    altitude: Samples | None
    distance: Samples | None
    speed: Samples | None
    heartrate: Samples | None
    cadence: Samples | None
    watts: Samples | None
    temp: Samples | None
    channels: tuple[Channel, ...]
    damage: frozenset[Damage]


def read_records(messages: Messages) -> Records:
    """Read the samples of all records."""
    developer = read_developer_fields(messages)
    columns = columns_of(messages.data, messages.of(RECORD), _NUMBERS, developer.type_of)
    damage = set(columns.damage)
    if developer.undescribed:
        damage.add(Damage.BAD_FIELD)
    latitude, longitude = _positions(columns, damage)
    packed_speed, packed_distance = _packed(messages, columns)
    return Records(
        columns=columns,
        latitude=_or_none(latitude),
        longitude=_or_none(longitude),
        altitude=_or_none(
            _first_of(columns, RecordField.ENHANCED_ALTITUDE, RecordField.ALTITUDE) / ALTITUDE_SCALE - ALTITUDE_OFFSET
        ),
        distance=_or_none(_filled(columns.first(RecordField.DISTANCE) / CENTI, packed_distance)),
        speed=_or_none(
            _filled(_first_of(columns, RecordField.ENHANCED_SPEED, RecordField.SPEED) / MILLI, packed_speed)
        ),
        heartrate=_or_none(columns.first(RecordField.HEART_RATE)),
        cadence=_or_none(_cadence(columns)),
        watts=_or_none(columns.first(RecordField.POWER)),
        temp=_or_none(columns.first(RecordField.TEMPERATURE)),
        channels=channels_of(columns, developer),
        damage=frozenset(damage),
    )


def _first_of(columns: Columns, number: int, other: int) -> Samples:
    """Return a field, and another one where it has no value."""
    return _filled(columns.first(number), columns.first(other))


def _filled(values: Samples, others: Samples | None) -> Samples:
    return values if others is None else np.where(np.isnan(values), others, values)


def _or_none(values: Samples) -> Samples | None:
    return None if np.isnan(values).all() else values


def _cadence(columns: Columns) -> Samples:
    fraction = columns.first(RecordField.FRACTIONAL_CADENCE) / FRACTION_SCALE
    return columns.first(RecordField.CADENCE) + np.where(np.isnan(fraction), 0.0, fraction)


def _positions(columns: Columns, damage: set[Damage]) -> tuple[Samples, Samples]:
    """Return latitudes and longitudes, degrees; both are NaN where there is no fix, or no such place."""
    latitude = columns.first(RecordField.LATITUDE) * SEMICIRCLES_DEGREES
    longitude = columns.first(RecordField.LONGITUDE) * SEMICIRCLES_DEGREES
    outside = (np.abs(latitude) > HIGHEST_LATITUDE) | (np.abs(longitude) > 2 * HIGHEST_LATITUDE)
    if outside.any():
        damage.add(Damage.BAD_VALUE)
    missing = outside | np.isnan(latitude) | np.isnan(longitude) | ((latitude == 0) & (longitude == 0))
    latitude[missing] = longitude[missing] = np.nan
    return latitude, longitude


def _packed(messages: Messages, columns: Columns) -> tuple[Samples | None, Samples | None]:
    """Return speed, m/s, and distance, m, of records that pack both into three bytes."""
    packed = columns.values.get(FieldKey(RecordField.COMPRESSED_SPEED_DISTANCE))
    if packed is None or packed.shape[1] != _PACKED_BYTES:
        return None, None
    low, middle, high = np.where((packed >= 0) & (packed <= _HIGHEST_BYTE), packed, np.nan).T
    speed = low + middle % 16 * 256
    speed[speed == _PACKED_NONE] = np.nan
    distance = np.full(len(packed), np.nan)
    for part in {block.part for block in messages.of(RECORD)}:
        rows = _rows_of_part(messages, columns, part) & ~np.isnan(low + middle + high)
        raw = (middle[rows] // 16 + high[rows] * 16).astype(np.int64)
        # Only the lower bits are told, so the distance goes on from the last record.
        distance[rows] = np.cumsum(np.diff(raw, prepend=0) % (1 << _PACKED_BITS))
    return speed / CENTI, distance / _PACKED_DISTANCE_SCALE


def _rows_of_part(messages: Messages, columns: Columns, part: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    rows = np.zeros(len(columns.offsets), np.bool_)
    for block in messages.of(RECORD):
        if block.part == part:
            rows[np.searchsorted(columns.offsets, block.offsets)] = True
    return rows
