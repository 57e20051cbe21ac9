"""Series in the binary form in which Postgres takes arrays, made by numpy: text would cost client and server more.

The form is that of ``array_recv``: https://github.com/postgres/postgres/blob/REL_18_0/src/backend/utils/adt/arrayfuncs.c
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from psycopg import Cursor
from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Dimensions, whether values are missing, type of the values; then their number, and the number of the first.
_HEAD: Final = struct.Struct(">iiIii")
_FLOAT8, _INT4 = 701, 23
_FLOAT8_ARRAY, _INT4_ARRAY = 1022, 1007


class BinaryArray(bytes):
    """An array as Postgres receives it."""

    __slots__ = ()


class Doubles(BinaryArray):
    """Of type double precision[]."""

    __slots__ = ()


class Integers(BinaryArray):
    """Of type integer[]."""

    __slots__ = ()


def doubles(values: Sequence[float | None] | NDArray[np.float64] | None) -> Doubles | None:
    """Return a series, shape (n,), as double precision[]; ``None`` and NaN are NULL."""
    import numpy as np  # noqa: PLC0415  most processes store no series

    if values is None:
        return None
    series = np.asarray(values, dtype=np.float64)
    return Doubles(_packed(series, np.isnan(series), ">f8", _FLOAT8))


def integers(values: Sequence[int | None] | None) -> Integers | None:
    """Return a series of whole numbers, shape (n,), as integer[]; ``None`` is NULL."""
    import numpy as np  # noqa: PLC0415  as above

    if values is None:
        return None
    series = np.asarray(values, dtype=np.float64)
    missing = np.isnan(series)
    return Integers(_packed(np.where(missing, 0, series), missing, ">i4", _INT4))


def let_send(cursor: Cursor[Any]) -> None:
    """Let a cursor send :class:`BinaryArray` as parameters."""
    cursor.adapters.register_dumper(Doubles, _DoublesDumper)
    cursor.adapters.register_dumper(Integers, _IntegersDumper)


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class _DoublesDumper(_ArrayDumper):
    oid = _FLOAT8_ARRAY


class _IntegersDumper(_ArrayDumper):
    oid = _INT4_ARRAY


def _packed(series: Any, missing: Any, form: str, oid: int) -> bytes:
    import numpy as np  # noqa: PLC0415  as above

    if not len(series):
        return struct.pack(">iiI", 0, 0, oid)
    items = np.empty(len(series), dtype=[("length", ">i4"), ("value", form)])
    items["length"] = items.dtype["value"].itemsize
    items["value"] = series
    has_missing = bool(missing.any())
    head = _HEAD.pack(1, has_missing, oid, len(series), 1)
    if not has_missing:
        return head + items.tobytes()
    # A missing value has the length -1, and no bytes.
    items["length"][missing] = -1
    rows = items.view(np.uint8).reshape(len(series), -1)
    kept = np.ones(rows.shape, dtype=bool)
    kept[missing, 4:] = False
    return head + rows[kept].tobytes()
