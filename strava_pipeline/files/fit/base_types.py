"""The base types of FIT fields: how their bytes are read, and which value says that there is none.

Source: https://developer.garmin.com/fit/protocol/, "Base Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STRING: Final = 7
BYTE: Final = 13
# The highest bit only says whether the type's bytes have an order; the next two are not used.
_NUMBER_MASK, _UNUSED = 0x1F, 0x60


@dataclass(frozen=True, slots=True)
class BaseType:
    """``code``: numpy's type without the byte order; ``invalid``: the value for none, ``None`` if that is NaN."""

    number: int
    code: str
    size: int
    invalid: int | None


_TYPES: Final = (
    BaseType(0, "u1", 1, 0xFF),  # enum
    BaseType(1, "i1", 1, 0x7F),
    BaseType(2, "u1", 1, 0xFF),
    BaseType(3, "i2", 2, 0x7FFF),
    BaseType(4, "u2", 2, 0xFFFF),
    BaseType(5, "i4", 4, 0x7FFF_FFFF),
    BaseType(6, "u4", 4, 0xFFFF_FFFF),
    BaseType(STRING, "u1", 1, 0),
    BaseType(8, "f4", 4, None),
    BaseType(9, "f8", 8, None),
    BaseType(10, "u1", 1, 0),
    BaseType(11, "u2", 2, 0),
    BaseType(12, "u4", 4, 0),
    BaseType(BYTE, "u1", 1, 0xFF),
    BaseType(14, "i8", 8, 0x7FFF_FFFF_FFFF_FFFF),
    BaseType(15, "u8", 8, 0xFFFF_FFFF_FFFF_FFFF),
    BaseType(16, "u8", 8, 0),
)


def base_type(number: int) -> BaseType | None:
    """Return the base type that a definition names by ``number``, ``None`` if there is none."""
    index = number & _NUMBER_MASK
    return _TYPES[index] if index < len(_TYPES) and not number & _UNUSED else None
