"""The checksum of FIT files: CRC-16/ARC, for many bytes at once.

A checksum that starts with 0 is linear: the bytes are cut into lanes of equal length, each lane's checksum is computed
beside the others, and neighbours are joined by the effect that the right one's length has on the left one.
Source of the polynomial: https://developer.garmin.com/fit/protocol/, "CRC".
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint16]

_POLYNOMIAL: Final = 0xA001
_BITS: Final = 16
_LANES: Final = 1 << 10
_PLACES: Final = np.arange(_BITS, dtype=np.uint16)


def checksum(content: bytes) -> int:
    """Return the checksum; 0 for content that its own checksum follows, lower byte first."""
    steps = -(-len(content) // _LANES)
    # Zeros in front change nothing.
    padded = np.zeros(steps * _LANES, np.uint8)
    padded[len(padded) - len(content) :] = np.frombuffer(content, np.uint8)
    lanes = np.zeros(_LANES, np.uint16)
    for column in np.ascontiguousarray(padded.reshape(_LANES, steps).T):
        lanes = (lanes >> 8) ^ _TABLE[(lanes ^ column) & 0xFF]
    shift = _shift_by(steps)
    while len(lanes) > 1:
        lanes = _apply(shift, lanes[0::2]) ^ lanes[1::2]
        shift = _apply(shift, shift)
    return int(lanes[0])


def _table() -> Words:
    values = np.arange(256, dtype=np.uint16)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ _POLYNOMIAL, values >> 1).astype(np.uint16)
    return values


_TABLE: Final = _table()


def _shift_by(count: int) -> Words:
    """Return what ``count`` zero bytes make of each single bit of a checksum, shape (16,)."""
    result: Words = (1 << _PLACES).astype(np.uint16)
    power: Words = (result >> 8) ^ _TABLE[result & 0xFF]
    while count:
        if count & 1:
            result = _apply(power, result)
        power = _apply(power, power)
        count >>= 1
    return result


def _apply(linear: Words, values: Words) -> Words:
    bits = values[:, None] >> _PLACES & 1
    found: Words = np.bitwise_xor.reduce(bits * linear, axis=1)
    return found
