"""Writes one table of an export: as JSON Lines, and an analysts' table as Parquet and CSV, too."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection

from strava_pipeline.errors import WarehouseError
from strava_pipeline.spreadsheet_cells import safe_cell
from strava_pipeline.warehouse.athlete_export.export_files import ExportFiles
from strava_pipeline.warehouse.athlete_export.exported_tables import ExportedTable, json_rows
from strava_pipeline.warehouse.athlete_export.layout import (
    DATA,
    LONGEST_ROW,
    WITHOUT_CSV,
    csv_file,
    parquet_file,
    table_file,
)

# The ninth level would save a quarter, and take ten times as long.
_LEVEL: Final = 1
# Takes a row, and its length as JSON.
_Add = Callable[[dict[str, Any], int], None]


def write_table(
    connection: Connection, files: ExportFiles, table: ExportedTable, athlete_id: int, *, parquet: bool
) -> int:
    """Write an athlete's rows of one table; returns how many. A table without any gets no file."""
    lines = json_rows(connection, table, athlete_id)
    first = next(lines, None)
    if first is None:
        return 0
    count = 0
    with ExitStack() as stack:
        file = stack.enter_context(files.new(table_file(table.full_name)))
        # Without name and time: the same rows are the same bytes.
        packed = stack.enter_context(gzip.GzipFile("", "wb", _LEVEL, file, mtime=0))
        others = _others(stack, files, table, parquet=parquet)
        for line in chain((first,), lines):
            if len(line) > LONGEST_ROW:
                raise WarehouseError(f"a row of {table.full_name} is longer than {LONGEST_ROW:,} characters as JSON")
            packed.write(line.encode() + b"\n")
            row = json.loads(line) if others else {}
            for add in others:
                add(row, len(line))
            count += 1
    return count


def _others(stack: ExitStack, files: ExportFiles, table: ExportedTable, *, parquet: bool) -> list[_Add]:
    if table.schema != DATA:
        return []
    others: list[_Add] = []
    if parquet:
        from strava_pipeline.warehouse.athlete_export.parquet_writer import ParquetTable  # noqa: PLC0415  an extra

        file = stack.enter_context(files.new(parquet_file(table.full_name)))
        others.append(stack.enter_context(closing(ParquetTable(file, table))).add)
    if table.full_name not in WITHOUT_CSV:
        others.append(_csv(stack.enter_context(files.new(csv_file(table.full_name))), table))
    return others


def _csv(file: io.RawIOBase, table: ExportedTable) -> _Add:
    """Cells that no spreadsheet takes for a formula; by the mark in front one knows that this is UTF-8."""
    file.write(codecs.BOM_UTF8)
    writer = csv.writer(_Encoded(file))
    writer.writerow(table.names)

    def add(row: dict[str, Any], _: int) -> None:
        writer.writerow([_cell(row[name]) for name in table.names])

    return add


class _Encoded:
    """The file of a CSV writer, which writes a line at once."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.encode())


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else safe_cell(value)
