"""Reads the rows of an export: each line is checked against its table, and becomes what Postgres copies.

A value's type is that of the column, all columns are there and no others, and each row is the athlete's.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.warehouse.athlete_export.exported_tables import ExportedTable
from strava_pipeline.warehouse.athlete_export.layout import LONGEST_ROW, table_file
from strava_pipeline.warehouse.athlete_export.opened_export import OpenedExport

Row = dict[str, Any]
# JSON's -0 would become the integer 0.
_NEGATIVE_ZERO: Final = re.compile(rb"[\[:,]-0[,\]}]")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_ODD_NUMBERS: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_ODD_TIMES: Final = frozenset({"infinity", "-infinity"})
_NUMBERS: Final = frozenset({int, float})
_LONGEST_TIME: Final = 40
_BUFFER: Final = 2**16


def read_rows(export: OpenedExport, table: ExportedTable) -> Iterator[Row]:
    """Yield the rows of a table, checked; ``UnreadableFile`` for the first that is not one of the athlete's.

    At the end the file is compared with the manifest, and the number of rows as well.
    """
    expected = export.manifest.tables[table.full_name].rows
    name = table_file(table.full_name)
    if not expected and name not in export.manifest.files:
        return
    check = _Check(table, export.manifest.athlete_id)
    count = 0
    with export.open(name) as packed:
        for line in _lines(packed, name):
            count += 1
            yield check.row(line, count)
            if count > expected:
                break
        packed.read_to_end()
    if count != expected:
        raise UnreadableFile(f"{name} has not the {expected} rows that manifest.json says: nothing is restored")


def _lines(packed: io.RawIOBase, name: str) -> Iterator[bytes]:
    buffered = io.BufferedReader(packed, _BUFFER)
    try:
        with gzip.GzipFile("", "rb", fileobj=buffered) as plain:
            while line := _line(plain, name):
                yield line
    finally:
        buffered.detach()  # or it would close the file with itself


def _line(plain: gzip.GzipFile, name: str) -> bytes:
    try:
        line = plain.readline(LONGEST_ROW + 2)
    except (OSError, EOFError, zlib.error):
        raise UnreadableFile(f"{name} is no whole gzip: nothing is restored") from None
    if line and not line.endswith(b"\n"):
        raise UnreadableFile(f"{name} has a line that does not end, or is too long: nothing is restored")
    return line


@dataclass(frozen=True)
class _Check:
    """Checks the rows of one table."""

    table: ExportedTable
    athlete_id: int

    def row(self, line: bytes, number: int) -> Row:
        try:
            row = self._loaded(line)
        except (ValueError, RecursionError):
            raise self._refusal(number, "is no JSON") from None
        if not isinstance(row, dict) or list(row) != self.table.names:
            raise self._refusal(number, "has other columns than the table")
        for column in self.table.columns:
            value = row[column.name]
            if value is not None and not _fits(column.kind, value):
                raise self._refusal(number, f"has no {column.kind} in column {column.name}")
        if self.table.owner is not None and row[self.table.owner] != self.athlete_id:
            raise self._refusal(number, f"is not of athlete {self.athlete_id}")
        return row

    def _loaded(self, line: bytes) -> Any:
        text = line.decode()
        if _NEGATIVE_ZERO.search(line):
            return json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
        return json.loads(text)

    def _refusal(self, number: int, why: str) -> UnreadableFile:
        return UnreadableFile(f"row {number} of {self.table.full_name} {why}: nothing is restored")


def copied(values: Iterator[Any]) -> bytes:
    """One row in the text form of Postgres' COPY."""
    return ("\t".join(map(_cell, values)) + "\n").encode()


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, list):
        return _array(value)
    return repr(value)


def _array(values: list[Any]) -> str:
    if str not in set(map(type, values)):
        # JSON's notation is Postgres', but for the brackets.
        return f"{{{json.dumps(values)[1:-1]}}}"
    quoted = ("NULL" if value is None else _quoted(value) for value in values)
    return f"{{{','.join(quoted)}}}".translate(_ESCAPES)


def _quoted(value: Any) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)


def _is_integer(bits: int) -> Callable[[Any], bool]:
    limit = 2 ** (bits - 1)
    return lambda value: type(value) is int and -limit <= value < limit


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS or (isinstance(value, str) and value in _ODD_NUMBERS)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_json(value: Any) -> bool:
    if not _is_text(value):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return value in _ODD_TIMES
    return True


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return value in _ODD_TIMES


_FITS: Final[dict[str, Callable[[Any], bool]]] = {
    "bigint": _is_integer(64),
    "integer": _is_integer(32),
    "smallint": _is_integer(16),
    "double precision": _is_number,
    "real": _is_number,
    "boolean": _is_flag,
    "text": _is_text,
    "json": _is_json,
    "jsonb": _is_json,
    "date": _is_day,
    "timestamp with time zone": _is_time,
    "timestamp without time zone": _is_time,
}
# Kinds of which a list is checked by the types in it alone, since it may have a hundred thousand values.
_QUICK: Final = {
    "double precision": frozenset({int, float, type(None)}),
    "boolean": frozenset({bool, type(None)}),
}


def _fits(kind: str, value: Any) -> bool:
    if not kind.endswith("[]"):
        fits = _FITS.get(kind)
        # A type that came later: Postgres itself tells whether it is one.
        return fits(value) if fits is not None else not isinstance(value, (dict, list)) and _is_scalar(value)
    if not isinstance(value, list):
        return False
    kind = kind.removesuffix("[]")
    if kind in _QUICK and set(map(type, value)) <= _QUICK[kind]:
        return True
    return all(each is None or (not isinstance(each, list) and _fits(kind, each)) for each in value)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, str) or _is_text(value)
