"""Writes FIT files, message by message, as devices do.

Source: https://developer.garmin.com/fit/protocol/.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.files.fit.checksums import checksum

Value = float | str | bytes | Sequence[float | None] | None

SHORT_HEADER, HEADER = 12, 14
_PROTOCOL, _PROFILE = 0x20, 2132
_DEFINITION, _DEVELOPER, _COMPRESSED, _LOW_BITS = 0x40, 0x20, 0x80, 0x1F
_POLYNOMIAL: Final = 0xA001


class Base(IntEnum):
    """The base types, by the numbers that a file names them by."""

    ENUM = 0x00
    SINT8 = 0x01
    UINT8 = 0x02
    SINT16 = 0x83
    UINT16 = 0x84
    SINT32 = 0x85
    UINT32 = 0x86
    STRING = 0x07
    FLOAT32 = 0x88
    FLOAT64 = 0x89
    UINT8Z = 0x0A
    UINT16Z = 0x8B
    UINT32Z = 0x8C
    BYTE = 0x0D
    SINT64 = 0x8E
    UINT64 = 0x8F
    UINT64Z = 0x90


_CODES: Final = {
    Base.ENUM: "B", Base.SINT8: "b", Base.UINT8: "B", Base.SINT16: "h", Base.UINT16: "H", Base.SINT32: "i",
    Base.UINT32: "I", Base.FLOAT32: "f", Base.FLOAT64: "d", Base.UINT8Z: "B", Base.UINT16Z: "H", Base.UINT32Z: "I",
    Base.SINT64: "q", Base.UINT64: "Q", Base.UINT64Z: "Q",
}  # fmt: skip
_TEXTS: Final = frozenset({Base.STRING, Base.BYTE})
_SIGNED: Final = frozenset({Base.SINT8, Base.SINT16, Base.SINT32, Base.SINT64})
_ZERO: Final = frozenset({Base.UINT8Z, Base.UINT16Z, Base.UINT32Z, Base.UINT64Z})


@dataclass(frozen=True)
class FitField:
    """A field of a message. ``count``: elements, of texts and opaque bytes their length."""

    number: int
    base: Base
    count: int = 1

    @property
    def code(self) -> str:
        """The field in the notation of :mod:`struct`."""
        return f"{self.count}s" if self.base in _TEXTS else f"{self.count}{_CODES[self.base]}"

    @property
    def size(self) -> int:
        return struct.calcsize(f"<{self.code}")

    @property
    def invalid(self) -> float:
        """The value that says that there is none."""
        if self.base in _ZERO:
            return 0
        if self.base in {Base.FLOAT32, Base.FLOAT64}:
            return float("nan")
        bits = 8 * self.size // self.count
        return (1 << bits - 1) - 1 if self.base in _SIGNED else (1 << bits) - 1


@dataclass(frozen=True)
class DeveloperField(FitField):
    """A field of a developer, who has described it in a message before. ``developer``: the index of their data."""

    developer: int = 0


class FitFile:
    """One FIT file as it grows. ``is_big_endian``: the order of the bytes in all numbers of its messages."""

    def __init__(self, *, is_big_endian: bool = False, header_size: int = HEADER) -> None:
        self._order = ">" if is_big_endian else "<"
        self._header_size = header_size
        self._content = bytearray()
        self._fields: dict[int, tuple[struct.Struct, tuple[FitField, ...]]] = {}

    def define(self, local: int, message: int, *fields: FitField) -> None:
        """Say which fields messages of the local type have from now on; developers' fields come last."""
        own = [field for field in fields if not isinstance(field, DeveloperField)]
        others = [field for field in fields if isinstance(field, DeveloperField)]
        header = _DEFINITION | local | (_DEVELOPER if others else 0)
        order = self._order == ">"
        self._content += struct.pack(f"{self._order}BBBHB", header, 0, order, message, len(own))
        for field in own:
            self._content += bytes((field.number, field.size, field.base))
        if others:
            self._content.append(len(others))
        for other in others:
            self._content += bytes((other.number, other.size, other.developer))
        codes = "".join(field.code for field in (*own, *others))
        self._fields[local] = (struct.Struct(f"{self._order}B{codes}"), (*own, *others))

    def add(self, local: int, *values: Value, time: int | None = None) -> None:
        """Write a message. ``time``: s, of which its header tells the lowest five bits, if the local type is below 4.

        ``values``: as stored, one a field; ``None`` for none, a sequence for a field with several elements.
        """
        packer, fields = self._fields[local]
        header = local if time is None else _COMPRESSED | local << 5 | time & _LOW_BITS
        if all(type(value) is int for value in values):
            self._content += packer.pack(header, *values)
            return
        flat: list[float | bytes] = []
        for field, value in zip(fields, values, strict=True):
            flat += _elements(field, value)
        self._content += packer.pack(header, *flat)

    def add_many(self, local: int, *columns: NDArray[Any]) -> None:
        """Write a message for each element of the columns, one a field; all columns have shape (n,), as stored."""
        _, fields = self._fields[local]
        kinds = [(f"{number}", f"{self._order}{_CODES[field.base]}") for number, field in enumerate(fields)]
        messages = np.empty(len(columns[0]), [("header", "u1"), *kinds])
        messages["header"] = local
        for (name, _), values in zip(kinds, columns, strict=True):
            messages[name] = values
        self._content += messages.tobytes()

    def add_raw(self, content: bytes) -> None:
        """Write bytes as they are, such as those that no device would write."""
        self._content += content

    def to_bytes(self) -> bytes:
        """Return the file with its header and checksums."""
        header = struct.pack("<BBHI4s", self._header_size, _PROTOCOL, _PROFILE, len(self._content), b".FIT")
        if self._header_size == HEADER:
            header += struct.pack("<H", fit_checksum(header))
        whole = header + bytes(self._content)
        return whole + struct.pack("<H", checksum(whole))


def fit_checksum(content: bytes) -> int:
    """Return the checksum of bytes, byte by byte."""
    value = 0
    for byte in content:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value


def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return tuple(values)


_TABLE: Final = _table()


def _elements(field: FitField, value: Value) -> list[float | bytes]:
    if field.base in _TEXTS:
        if isinstance(value, str):
            return [value.encode()]
        filler = b"\0" if field.base is Base.STRING else b"\xff"
        return [value if isinstance(value, bytes) else filler * field.count]
    values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,) * field.count
    return [field.invalid if element is None else element for element in values]  # type: ignore[misc]
