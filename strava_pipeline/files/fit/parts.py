"""The parts of a FIT file: some devices write several files one after the other into one.

Source: https://developer.garmin.com/fit/protocol/, "File Header" and "Chained FIT Files".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.fit.checksums import checksum
from strava_pipeline.files.recording import Damage

CHECKSUM_SIZE: Final = 2
MOST_PARTS: Final = 1_000
_SIGNATURE, _SIGNATURE_AT = b".FIT", 8
_SHORT_HEADER, _HEADER = 12, 14
_DEFINITION, _KIND_BITS = 0x40, 0xC0


@dataclass(slots=True)
class Part:
    """``start`` of the header, ``begin`` and ``end`` of the messages, offsets in the data.

    ``declared_end``: as the header tells it; ``limit``: where the data or the next header end the part at the latest.
    ``stopped_at``: where the reading ended, which the reader sets.
    """

    number: int
    start: int
    begin: int
    end: int
    declared_end: int
    limit: int
    stopped_at: int = 0


def parts_of(data: bytes, *, check: bool, damage: set[Damage]) -> Iterator[Part]:
    """Yield one part after the other; each is to be read before the next. Puts into ``damage`` what is wrong.

    ``check``: whether checksums are verified. Raises :class:`UnreadableFile` if the data do not begin with a header.
    """
    if not data:
        raise UnreadableFile("the file is empty: fetch it again")
    if data[_SIGNATURE_AT : _SIGNATURE_AT + len(_SIGNATURE)] != _SIGNATURE:
        raise UnreadableFile("this is not a FIT file: it does not begin with a FIT header")
    start: int | None = 0
    number = 0
    while start is not None:
        if number >= MOST_PARTS:
            raise UnreadableFile(f"the file holds more than {MOST_PARTS:,} FIT files: split it")
        part = _part(data, number, start, damage)
        yield part
        if check and not _is_sound(data, part):
            damage.add(Damage.CHECKSUM)
        start = _next_header(data, part.stopped_at)
        gap = (len(data) if start is None else start) - part.stopped_at
        if gap > CHECKSUM_SIZE and part.stopped_at == part.declared_end:
            damage.add(Damage.EXTRA_BYTES)
        number += 1


def _part(data: bytes, number: int, start: int, damage: set[Damage]) -> Part:
    begin = start + _header_size(data, start)
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    following = _next_header(data, start + _SHORT_HEADER)
    limit = len(data) if following is None else following
    declared_end = begin + size
    if not size or declared_end > limit:
        # A device that lost power never wrote the size, or the file was cut.
        damage.add(Damage.CUT)
        return Part(number, start, begin, limit, declared_end, limit)
    return Part(number, start, begin, declared_end, declared_end, limit)


def _header_size(data: bytes, start: int) -> int:
    """Return the header's size as its first byte tells it, unless no definition follows there."""
    told = data[start]
    for size in (told, _HEADER, _SHORT_HEADER):
        if size >= _SHORT_HEADER and _is_definition(data, start + size):
            return size
    return max(told, _SHORT_HEADER)


def _is_definition(data: bytes, at: int) -> bool:
    return at < len(data) and data[at] & _KIND_BITS == _DEFINITION


def _next_header(data: bytes, begin: int) -> int | None:
    """Return where the first header at or after ``begin`` starts."""
    at = begin + _SIGNATURE_AT
    for _ in range(MOST_PARTS):
        if (at := data.find(_SIGNATURE, at)) < 0:
            break
        start = at - _SIGNATURE_AT
        size = data[start]
        if size in {_SHORT_HEADER, _HEADER} and (start + size >= len(data) or _is_definition(data, start + size)):
            return start
        at += 1
    return None


def _is_sound(data: bytes, part: Part) -> bool:
    """Whether the header's checksum, where it has one, and the part's are right; a part that was cut has none."""
    header = data[part.start : part.begin]
    if len(header) == _HEADER and header[_SHORT_HEADER:] != b"\0\0" and checksum(header):
        return False
    whole = data[part.start : part.declared_end + CHECKSUM_SIZE]
    return part.declared_end > part.limit or (
        len(whole) == part.declared_end - part.start + CHECKSUM_SIZE and not checksum(whole)
    )
