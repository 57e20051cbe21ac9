"""Definition messages: which fields a message has, and where they stand in its bytes.

Source: https://developer.garmin.com/fit/protocol/, "Definition Message".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIXED_SIZE: Final = 5
ENTRY_SIZE: Final = 3
_HEADER_SIZE: Final = 1


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """Where a field stands: ``offset`` and ``size`` in bytes, counted from the message's header byte.

    ``type_number``: of its base type, ``None`` for a developer's field, which is described by a message of its own;
    ``developer``: the index of the developer's data, ``None`` for a field of the profile.
    """

    number: int
    offset: int
    size: int
    type_number: int | None
    developer: int | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """``message``: its number in the profile (20: record); ``size``: bytes, with the header byte."""

    message: int
    is_big_endian: bool
    size: int
    fields: tuple[FieldPlace, ...]


def message_size(content: bytes) -> int:
    """Return the bytes of each message with this definition, with the header byte. ``content``: as below."""
    developer = FIXED_SIZE + ENTRY_SIZE * content[4]
    return _HEADER_SIZE + sum(content[FIXED_SIZE + 1 : developer : ENTRY_SIZE]) + sum(content[developer + 2 :: 3])


def parse_definition(content: bytes) -> Definition:
    """Return a definition. ``content``: the whole message without its header byte."""
    is_big_endian = content[1] != 0
    message = int.from_bytes(content[2:4], "big" if is_big_endian else "little")
    developer = FIXED_SIZE + ENTRY_SIZE * content[4]
    fields: list[FieldPlace] = []
    offset = _HEADER_SIZE
    for at in range(FIXED_SIZE, developer, ENTRY_SIZE):
        number, size, type_number = content[at : at + ENTRY_SIZE]
        fields.append(FieldPlace(number, offset, size, type_number))
        offset += size
    for at in range(developer + 1, len(content), ENTRY_SIZE):
        number, size, index = content[at : at + ENTRY_SIZE]
        fields.append(FieldPlace(number, offset, size, None, index))
        offset += size
    return Definition(message, is_big_endian, offset, tuple(fields))
