"""When the messages of a FIT file were written: full timestamps, and five bits of one in the header of a message.

Times are seconds since 1989-12-31, 00:00 UTC, or since the device was switched on if they are below 0x10000000.
Source: https://developer.garmin.com/fit/protocol/, "Compressed Timestamp Header".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from strava_pipeline.files.fit.columns import Columns, columns_of
from strava_pipeline.files.fit.messages import Messages, Offsets
from strava_pipeline.files.fit.profile import TIMESTAMP
from strava_pipeline.files.recording import Samples

EPOCH: Final = datetime(1989, 12, 31, tzinfo=UTC)
FIRST_DATE_S: Final = 0x1000_0000
_LAST_S: Final = 0xFFFF_FFFF
_COMPRESSED, _LOW_BITS = 0x80, 0x1F


def is_date(seconds: float) -> bool:
    """Whether a time counts from 1989, and not from when the device was switched on."""
    return FIRST_DATE_S <= seconds <= _LAST_S


def date_of(seconds: float | None) -> datetime | None:
    """Return a time as UTC; ``None`` if it is none, or not a date."""
    return EPOCH + timedelta(seconds=seconds) if seconds is not None and is_date(seconds) else None


def times_of(messages: Messages, columns: Columns) -> Samples:
    """Return the times of messages, s, shape (n,); NaN only before the first time of the file.

    ``columns``: of the messages, with their timestamps. A message without a full timestamp takes the five bits in its
    header, or the last time of any message.
    """
    offsets, told = columns.offsets, _full_times(columns)
    if not np.isnan(told).any():
        return told
    known, times = _all_times(messages)
    if not len(known):
        return told
    before = np.searchsorted(known, offsets, side="right") - 1
    return np.where(np.isnan(told), np.where(before >= 0, times[np.maximum(before, 0)], np.nan), told)


def _all_times(messages: Messages) -> tuple[Offsets, Samples]:
    """Return the offsets of all messages that tell a time, rising, and these times."""
    columns = columns_of(messages.data, messages.blocks, {TIMESTAMP})
    offsets, full = columns.offsets, _full_times(columns)
    headers = np.frombuffer(messages.data, np.uint8)[offsets]
    is_full = ~np.isnan(full)
    is_short = ~is_full & (headers & _COMPRESSED != 0)
    tells = is_full | is_short
    offsets, full, headers, is_full = offsets[tells], full[tells], headers[tells], is_full[tells]
    low = np.where(is_full, np.where(is_full, full, 0).astype(np.int64), headers) & _LOW_BITS
    # Each short time is the first one with its five bits at or after the time before it.
    steps = np.where(is_full, 0, np.diff(low, prepend=0) & _LOW_BITS)
    passed = np.cumsum(steps)
    base = np.maximum.accumulate(np.where(is_full, np.arange(len(full)), -1))
    since = passed - np.where(base >= 0, passed[base], 0)
    return offsets, np.where(base >= 0, full[base], 0) + since


def _full_times(columns: Columns) -> Samples:
    times = columns.first(TIMESTAMP)
    return np.where((times >= 0) & (times <= _LAST_S), times, np.nan)
