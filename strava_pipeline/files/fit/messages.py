"""The messages of a FIT file, grouped by their definition.

One loop goes over the headers; where many messages of one kind follow each other, numpy finds the end of the run.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.fit.definitions import (
    ENTRY_SIZE,
    FIXED_SIZE,
    Definition,
    message_size,
    parse_definition,
)
from strava_pipeline.files.fit.parts import CHECKSUM_SIZE, Part, parts_of
from strava_pipeline.files.recording import Damage

Offsets = NDArray[np.int64]

RECORD: Final = 20
# Real files have some dozens of different definitions; a device may repeat one before each message.
MOST_DIFFERENT_DEFINITIONS: Final = 10_000
MOST_DEFINITIONS: Final = 500_000
# A device may write a few other messages with each record.
STEPS_PER_RECORD: Final = 3
_HEADERS: Final = 256
_DEFINITION, _KIND_BITS, _DEVELOPER = 0x40, 0xC0, 0x20
_COMPRESSED, _COMPRESSED_LOCALS = 0x80, 4
_LOCALS: Final = 16
_FIRST_RUN, _LONG_RUN, _GROWTH = 8, 64, 4


@dataclass(frozen=True, slots=True)
class Block:
    """All messages of one definition in one part. ``offsets``: of their header bytes, rising, shape (k,)."""

    part: int
    definition: Definition
    offsets: Offsets


@dataclass(frozen=True, slots=True)
class Messages:
    """A file's messages. ``blocks``: in the order of the definitions."""

    data: bytes
    blocks: tuple[Block, ...]
    damage: frozenset[Damage]

    def of(self, message: int) -> tuple[Block, ...]:
        """Return the blocks of messages with this number in the profile."""
        return tuple(block for block in self.blocks if block.definition.message == message)


def read_messages(data: bytes, *, check: bool, most_records: int) -> Messages:
    """Read all messages. ``check``: whether checksums are verified.

    Raises :class:`UnreadableFile` if the data are no FIT file, or hold more than ``most_records`` records.
    """
    scan = _Scan(data, iter(range(STEPS_PER_RECORD * most_records)))
    for part in parts_of(data, check=check, damage=scan.damage):
        part.stopped_at = scan.read(part)
    blocks = tuple(
        Block(part_number, parse_definition(content), np.frombuffer(offsets, np.int64))
        for (part_number, content), offsets in scan.found.items()
        if offsets
    )
    messages = Messages(data, blocks, frozenset(scan.damage))
    if sum(len(block.offsets) for block in messages.of(RECORD)) > most_records:
        raise _too_many(most_records)
    return messages


def _too_many(most_records: int) -> UnreadableFile:
    return UnreadableFile(f"the FIT file holds more than {most_records:,} records: split it")


@dataclass(slots=True)
class _Scan:
    """Where the messages stand: offsets by part and definition."""

    data: bytes
    steps: Iterator[int]
    found: dict[tuple[int, bytes], array[int]] = field(default_factory=dict)
    damage: set[Damage] = field(default_factory=set)
    definitions: int = 0
    sizes: list[int] = field(default_factory=list)
    places: list[array[int]] = field(default_factory=list)

    def read(self, part: Part) -> int:
        """Read a part, and return where the reading ended."""
        data, pos, end = self.data, part.begin, part.end
        nothing: array[int] = array("q")
        self.sizes = sizes = [0] * _HEADERS
        self.places = places = [nothing] * _HEADERS
        last, repeats, run = nothing, 0, _FIRST_RUN
        for _ in self.steps:
            if pos >= end:
                return pos
            header = data[pos]
            size = sizes[header]
            if not size:
                following = self._define(part, pos, end)
            elif (following := pos + size) <= end:
                offsets = places[header]
                offsets.append(pos)
                repeats = repeats + 1 if offsets is last else 0
                last = offsets
                if repeats >= run:
                    count = _run_length(data, following, end, size)
                    offsets.frombytes(np.arange(following, following + count * size, size, dtype=np.int64).tobytes())
                    following += count * size
                    # Looking for a run costs as much as some dozens of steps.
                    repeats, run = 0, _FIRST_RUN if count >= _LONG_RUN else run * 2
            if following > end and end < part.limit:
                # The size in the header is wrong: the part goes on to where the data or the next part tell its end.
                self.damage.add(Damage.CUT)
                end = part.limit
            elif following > end:
                self.damage.add(Damage.CUT)
                return end
            elif following == pos:
                if end - pos > CHECKSUM_SIZE or end == part.declared_end:
                    self.damage.add(Damage.UNDEFINED)
                return pos
            else:
                pos = following
        raise UnreadableFile("the FIT file holds too many messages for its records: it was not made by a device")

    def _define(self, part: Part, pos: int, end: int) -> int:
        """Take a definition; return where it ends, or ``pos`` if there is none."""
        data, header = self.data, self.data[pos]
        if header & _KIND_BITS != _DEFINITION:
            return pos
        after = pos + 1 + FIXED_SIZE
        if after > end:
            return after
        after += ENTRY_SIZE * data[after - 1]
        if header & _DEVELOPER:
            if after >= end:
                return after + 1
            after += 1 + ENTRY_SIZE * data[after]
        if after > end:
            return after
        content = data[pos + 1 : after]
        if (offsets := self.found.get((part.number, content))) is None:
            offsets = self.found[part.number, content] = array("q")
        self.definitions += 1
        if self.definitions > MOST_DEFINITIONS or len(self.found) > MOST_DIFFERENT_DEFINITIONS:
            raise UnreadableFile("the FIT file defines too many kinds of messages: it was not made by a device")
        self._use(header % _LOCALS, message_size(content), offsets)
        return after

    def _use(self, local: int, size: int, offsets: array[int]) -> None:
        """Take messages of this local type by this definition from now on, whatever reserved bits their headers set."""
        plain = slice(local, _DEFINITION, _LOCALS)
        self.sizes[plain], self.places[plain] = [size] * 4, [offsets] * 4
        if local < _COMPRESSED_LOCALS:
            begin = _COMPRESSED + 32 * local
            compressed = slice(begin, begin + 32)
            self.sizes[compressed], self.places[compressed] = [size] * 32, [offsets] * 32


def _run_length(data: bytes, begin: int, end: int, size: int) -> int:
    """Return how many messages of ``size`` bytes follow from ``begin``, of the same kind as the one before it."""
    header = data[begin - size]
    mask = 0xE0 if header & _COMPRESSED else 0xFF
    most = (end - begin) // size
    count, chunk = 0, _LONG_RUN
    while count < most:
        taken = min(chunk, most - count)
        heads = np.ndarray(taken, np.uint8, data, begin + count * size, (size,))
        differs = (heads & mask) != (header & mask)
        first = int(differs.argmax())
        if differs[first]:
            return count + first
        count, chunk = count + taken, chunk * _GROWTH
    return count
