"""Writes rows of one table as Parquet. Needs the extra ``lake``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from strava_pipeline.warehouse.athlete_export.exported_tables import ExportedTable

# Characters of rows as JSON that go into one group; as objects they take ten times as much memory.
_GROUP_CHARACTERS: Final = 4 * 2**20
_TYPES: Final = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "double precision": pa.float64(),
    "real": pa.float32(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "timestamp without time zone": pa.timestamp("us"),
}


def _moment(value: str) -> datetime | None:
    """A time; ``None`` for one that only Postgres knows, such as infinity."""
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _day(value: str) -> date | None:
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "date": _day,
    "timestamp with time zone": _moment,
    "timestamp without time zone": _moment,
    "double precision": float,
    "real": float,
}


class ParquetTable:
    """The rows of one table, written to ``file`` in groups; types as in Postgres, JSON as text."""

    def __init__(self, file: Any, table: ExportedTable) -> None:
        self._table = table
        self._kinds = {column.name: column.kind for column in table.columns}
        self._schema = pa.schema([(name, _type(kind)) for name, kind in self._kinds.items()])
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._characters = 0

    def add(self, row: dict[str, Any], characters: int) -> None:
        """Add a row; ``characters``: its length as JSON."""
        self._rows.append(row)
        self._characters += characters
        if self._characters >= _GROUP_CHARACTERS:
            self._write()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        if self._rows:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        columns = [self._column(name, kind) for name, kind in self._kinds.items()]
        self._rows, self._characters = [], 0
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def _column(self, name: str, kind: str) -> Any:
        values = [row[name] for row in self._rows]
        if kind.endswith("[]"):
            numbers = kind.startswith(("double", "real"))
            lists = [_plain(value) if numbers and value is not None else value for value in values]
            return pa.array(lists, _type(kind))
        read = _READ.get(kind, _text if kind not in _TYPES else None)
        return pa.array(values if read is None else [None if v is None else read(v) for v in values], _type(kind))


def _plain(values: list[Any]) -> list[Any]:
    """Numbers; NaN and infinity are texts in JSON."""
    return [float(value) if isinstance(value, str) else value for value in values] if _has_text(values) else values


def _has_text(values: list[Any]) -> bool:
    return str in set(map(type, values))


def _type(kind: str) -> Any:
    if kind.endswith("[]"):
        return pa.list_(_type(kind.removesuffix("[]")))
    return _TYPES.get(kind, pa.string())
