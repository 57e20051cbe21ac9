"""Fields of messages as columns: numbers of all messages of one kind, in the order of the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.files.fit.base_types import BYTE, STRING, BaseType, base_type
from strava_pipeline.files.fit.definitions import FieldPlace
from strava_pipeline.files.fit.messages import Block, Messages, Offsets
from strava_pipeline.files.recording import Damage, Samples

# A field that few messages have makes a column of all, so columns are bounded by the file's size.
MOST_CELLS_PER_BYTE: Final = 4
FEWEST_CELLS: Final = 4_000_000
# No measurement, but what divisions by a scale could make infinite.
_TOO_LARGE: Final = 1e300


# One message: the value of each field by its number, None if it has none.
Row = dict[int, float | None]


class FieldKey(NamedTuple):
    """A field of the profile by its ``number``, or one of a ``developer``, by the index of its data in a ``part``."""

    number: int
    developer: int | None = None
    part: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of messages. ``offsets``: of their header bytes, shape (n,), rising.

    ``values``: as the file has them, without scale, NaN where a message has none, shape (n, elements of the field).
    """

    offsets: Offsets
    values: dict[FieldKey, Samples]
    damage: frozenset[Damage]

    def first(self, number: int) -> Samples:
        """Return the first element of a field of the profile, shape (n,), all NaN if no message has it."""
        found = self.values.get(FieldKey(number))
        return np.full(len(self.offsets), np.nan) if found is None else found[:, 0]

    def rows(self, numbers: Collection[int]) -> list[Row]:
        """Return the first elements of these fields, message by message."""
        lists = [self.first(number).tolist() for number in numbers]
        return [
            {number: None if math.isnan(value) else value for number, value in zip(numbers, values, strict=True)}
            for values in zip(*lists, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Source:
    """A field in the messages of one block."""

    block: int
    place: FieldPlace
    base: BaseType


TypeOf = Callable[[int, FieldPlace], BaseType | None]


def _profile_type(_part: int, place: FieldPlace) -> BaseType | None:
    return None if place.type_number is None else base_type(place.type_number)


def columns_of(
    data: bytes, blocks: Sequence[Block], numbers: Collection[int], type_of: TypeOf = _profile_type
) -> Columns:
    """Read the fields ``numbers`` of all messages of these blocks.

    ``type_of``: the base type of a place in a part. Developers' fields for which it has one are read, too.
    """
    offsets, rows_of = _in_order(blocks)
    sources, damage = _sources(blocks, numbers, type_of)
    most = max(FEWEST_CELLS, MOST_CELLS_PER_BYTE * len(data))
    values: dict[FieldKey, Samples] = {}
    readers = [_Rows(data, block) for block in blocks]
    for key in sorted(sources, key=lambda key: -sum(len(blocks[source.block].offsets) for source in sources[key])):
        width = max(source.place.size // source.base.size for source in sources[key])
        most -= width * len(offsets)
        if most < 0:
            return Columns(offsets, values, damage | {Damage.BAD_FIELD})
        values[key] = _column(sources[key], readers, rows_of, (len(offsets), width))
    return Columns(offsets, values, damage)


def texts_of(messages: Messages, message: int, number: int) -> list[tuple[int, str]]:
    """Return a text field of all messages of one kind that have it, each with the offset of its message, in order."""
    found: list[tuple[int, str]] = []
    for block in messages.of(message):
        for place in block.definition.fields:
            base = _profile_type(block.part, place)
            if place.number == number and base is not None and base.number == STRING:
                for offset in block.offsets.tolist():
                    begin = offset + place.offset
                    text = messages.data[begin : begin + place.size].partition(b"\0")[0]
                    found.append((offset, text.decode("utf-8", errors="replace").strip()))
    return sorted((offset, text) for offset, text in found if text)


def _in_order(blocks: Sequence[Block]) -> tuple[Offsets, list[Offsets | slice]]:
    """Return the offsets of all messages, rising, and where each block's messages are among them."""
    if not blocks:
        return np.empty(0, np.int64), []
    if len(blocks) == 1:
        return blocks[0].offsets, [slice(None)]
    offsets = np.concatenate([block.offsets for block in blocks])
    offsets.sort()
    return offsets, [np.searchsorted(offsets, block.offsets) for block in blocks]


def _sources(
    blocks: Sequence[Block], numbers: Collection[int], type_of: TypeOf
) -> tuple[dict[FieldKey, list[_Source]], frozenset[Damage]]:
    sources: dict[FieldKey, list[_Source]] = {}
    damage: set[Damage] = set()
    for index, block in enumerate(blocks):
        seen: set[FieldKey] = set()
        for place in block.definition.fields:
            if place.developer is None and place.number not in numbers:
                continue
            key = FieldKey(place.number) if place.developer is None else _developer_key(block, place)
            base = type_of(block.part, place)
            if place.developer is not None and base is None:
                continue
            if base is None or not place.size or place.size % base.size or (base.number == STRING):
                damage.add(Damage.BAD_FIELD)
            elif key not in seen:
                seen.add(key)
                sources.setdefault(key, []).append(_Source(index, place, base))
    return sources, frozenset(damage)


def _developer_key(block: Block, place: FieldPlace) -> FieldKey:
    return FieldKey(place.number, place.developer, block.part)


def _column(
    sources: list[_Source], readers: list[_Rows], rows_of: list[Offsets | slice], shape: tuple[int, int]
) -> Samples:
    if len(readers) == 1:
        return readers[0].numbers(sources[0].place, sources[0].base)
    values = np.full(shape, np.nan)
    for source in sources:
        numbers = readers[source.block].numbers(source.place, source.base)
        values[rows_of[source.block], : numbers.shape[1]] = numbers
    return values


class _Rows:
    """The bytes of a block's messages."""

    def __init__(self, data: bytes, block: Block) -> None:
        self._order = ">" if block.definition.is_big_endian else "<"
        self._count = len(block.offsets)
        steps = np.diff(block.offsets)
        size = block.definition.size
        self._buffer: bytes | NDArray[np.uint8] = data
        self._begin = int(block.offsets[0])
        self._stride = int(steps[0]) if len(steps) else size
        if (steps != self._stride).any():
            windows = np.ndarray((len(data) - size + 1, size), np.uint8, data, 0, (1, 1))
            self._buffer, self._begin, self._stride = windows[block.offsets], 0, size

    def numbers(self, place: FieldPlace, base: BaseType) -> Samples:
        """Return a field of all rows, shape (rows, elements), NaN where it has no value."""
        raw: NDArray[np.generic] = np.ndarray(
            (self._count, place.size // base.size),
            np.dtype(self._order + base.code),
            self._buffer,
            self._begin + place.offset,
            (self._stride, base.size),
        )
        if base.invalid is None:
            # Damaged bytes may be a NaN of any kind, of which numpy would warn.
            with np.errstate(invalid="ignore"):
                values = raw.astype(np.float64)
            values[~(np.abs(values) < _TOO_LARGE)] = np.nan
            return values
        values = raw.astype(np.float64)
        if base.number == BYTE:
            # Bytes are one value: none of them is missing unless all are.
            values[(raw == base.invalid).all(axis=1)] = np.nan
        elif (missing := raw == base.invalid).any():
            values[missing] = np.nan
        return values
