"""Looks at a zip's list of members before the whole of it is loaded: how many there are, and whether it is complete.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7 to 4.3.16.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits

_LOCAL: Final = b"PK\x03\x04"
_END_MARK: Final = b"PK\x05\x06"
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
# Lengths of name, extra field and comment, 28 bytes into an entry of 46.
_LENGTHS: Final = struct.Struct("<3H")
_ENTRY: Final = 46
_LONGEST_COMMENT: Final = 0xFFFF
# Name and extra field follow the 30 bytes of a member's own header.
LOCAL_HEADER: Final = struct.Struct("<4s22x2H")


def check_directory(file: BinaryIO, name: str, limits: ArchiveLimits) -> None:
    """``UnreadableFile`` unless a zip has a complete list of members that is not too long.

    The number of members that a zip tells of itself is not trusted: its list is walked through.
    """
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise UnreadableFile(f"{name} is empty: download it again")
    file.seek(0)
    beginning = file.read(4)
    tail_at = max(0, size - _LONGEST_COMMENT - _END.size)
    file.seek(tail_at)
    tail = file.read()
    end = _end(tail)
    if end < 0 or len(tail) - end < _END.size:
        if beginning == _LOCAL:
            raise damaged(name)
        raise UnreadableFile(f"{name} is no zip: hand over the archive as Strava sent it, or its unpacked folder")
    directory_bytes, directory_end = _directory(file, tail, end, tail_at + end)
    if directory_bytes > limits.directory_bytes:
        raise _too_many(name, limits)
    if directory_bytes > directory_end:
        raise damaged(name)
    file.seek(directory_end - directory_bytes)
    if _count(file.read(directory_bytes), limits.members, name) > limits.members:
        raise _too_many(name, limits)


def _end(tail: bytes) -> int:
    """Where the last record begins, as ``zipfile`` finds it: without a comment at the very end, else the last one."""
    plain = len(tail) - _END.size
    return (
        plain if plain >= 0 and tail[plain:].startswith(_END_MARK) and tail.endswith(b"\0\0") else tail.rfind(_END_MARK)
    )


def damaged(name: str) -> UnreadableFile:
    return UnreadableFile(f"{name} is cut off or damaged: download it again")


def _too_many(name: str, limits: ArchiveLimits) -> UnreadableFile:
    return UnreadableFile(f"{name} has more than the {limits.members:,} members that are read: it is refused")


def _directory(file: BinaryIO, tail: bytes, end: int, end_at: int) -> tuple[int, int]:
    """The directory's length, and where it ends; a large zip tells both in records of their own."""
    length: int = _END.unpack_from(tail, end)[5]
    end64_at = end_at - _LOCATOR64.size - _END64.size
    if end64_at < 0:
        return length, end_at
    file.seek(end64_at)
    end64, locator = file.read(_END64.size), file.read(_LOCATOR64.size)
    if not locator.startswith(b"PK\x06\x07") or not end64.startswith(b"PK\x06\x06"):
        return length, end_at
    return int(_END64.unpack(end64)[8]), end64_at


def _count(directory: bytes, most: int, name: str) -> int:
    """The number of entries, or one more than ``most``."""
    at = count = 0
    while at < len(directory) and count <= most:
        if directory[at : at + 4] != b"PK\x01\x02" or at + _ENTRY > len(directory):
            raise damaged(name)
        at += _ENTRY + sum(_LENGTHS.unpack_from(directory, at + 28))
        count += 1
    return count
