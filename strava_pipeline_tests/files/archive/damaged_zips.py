"""Zips that no program should write: their entries are changed after the fact, byte by byte."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

_ENTRY = b"PK\x01\x02"
_END = b"PK\x05\x06"
# Where fields of a central entry stand, and of the member's own header.
FLAGS, METHOD, CHECKSUM, PACKED_BYTES, PLAIN_BYTES, OFFSET = 8, 10, 16, 20, 24, 42
_IN_MEMBER = {FLAGS: 6, METHOD: 8}
_WIDTHS = {FLAGS: "<H", METHOD: "<H", CHECKSUM: "<L", PACKED_BYTES: "<L", PLAIN_BYTES: "<L", OFFSET: "<L"}


def zip_bytes(path: Path, members: Mapping[str, bytes]) -> bytearray:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return bytearray(path.read_bytes())


def entry_at(data: bytearray, name: str) -> int:
    """Where the central entry of a member begins."""
    at = data.find(_ENTRY)
    while at >= 0:
        name_bytes = struct.unpack_from("<H", data, at + 28)[0]
        if data[at + 46 : at + 46 + name_bytes] == name.encode():
            return at
        at = data.find(_ENTRY, at + 4)
    raise AssertionError(name)


def with_field(data: bytearray, name: str, field: int, value: int) -> bytearray:
    """The zip with a field of a member changed, in its entry and in its own header."""
    changed = bytearray(data)
    at = entry_at(data, name)
    struct.pack_into(_WIDTHS[field], changed, at + field, value)
    if field in _IN_MEMBER:
        begin = struct.unpack_from("<L", data, at + OFFSET)[0]
        struct.pack_into(_WIDTHS[field], changed, begin + _IN_MEMBER[field], value)
    return changed


def as_zip64(data: bytearray) -> bytearray:
    """The zip with an end as one of more than 65,535 members or 4 GiB has it."""
    end = data.rfind(_END)
    count, size, offset = struct.unpack_from("<HLL", data, end + 10)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    plain = struct.pack("<4s4H2LH", _END, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + end64 + locator + plain
