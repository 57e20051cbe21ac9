"""Columns of tables as typed pandas frames: dtypes never depend on the rows, and units stand in ``frame.attrs``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Engine, Integer, Select, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.types import TypeEngine

from strava_pipeline.errors import WarehouseError
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.column_units import unit_of

ROWS_AT_ONCE = 1_000
ROWS_OF_A_PART = 50_000
# Postgres' codes for a missing table and a missing column.
_NOT_THERE = ("42P01", "42703")
# Columns, and the SQL type of their values.
Columns = Mapping[Column[Any], TypeEngine[Any]]
# The streams of an activity, sample by sample.
STREAMS: Columns = {
    column: column.type.item_type for column in tables.activity_streams.c if isinstance(column.type, ARRAY)
}
_DTYPES: dict[type[TypeEngine[Any]], str] = {
    Boolean: "boolean",
    Integer: "Int64",
    Double: "Float64",
    Text: "string",
    Date: "datetime64[us]",
}


def read_columns(engine: Engine, query: Select[Any]) -> list[list[Any]]:
    """Return the values of a query, by column.

    ``WarehouseError`` if a table or a column is missing.
    """
    (values,) = _in_parts(engine, query, sys.maxsize)
    return values


def read_frame(engine: Engine, query: Select[Any], columns: Columns) -> pd.DataFrame:
    """Return the rows of a query as a frame of ``columns``, in their order; errors as those of :func:`read_columns`.

    Values become those of the frame part by part: as Python's they would take several times the memory.
    """
    parts = [typed_frame(columns, values) for values in _in_parts(engine, query, ROWS_OF_A_PART)]
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = parts[0].attrs
    return frame


def _in_parts(engine: Engine, query: Select[Any], most_rows: int) -> Iterator[list[list[Any]]]:
    """The values of a query, by column, for each ``most_rows`` of its rows; at least one part, which may be empty.

    Rows are read few at once, so they are never in memory as such.
    """
    try:
        with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
            result = connection.execute(query)
            columns: list[list[Any]] = [[] for _ in query.selected_columns]
            for rows in result.partitions():
                if len(columns[0]) >= most_rows:
                    yield columns
                    columns = [[] for _ in columns]
                for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                    column.extend(values)
            yield columns
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in _NOT_THERE:
            raise
        raise WarehouseError(
            "the tables there are not the ones this version reads: run strava-pipeline migrate there, or install the"
            " version that made them"
        ) from error


def typed_columns(columns: Iterable[Column[Any]]) -> Columns:
    """Return columns with their own types."""
    return {column: column.type for column in columns}


def chosen(table: str, columns: Columns, names: Sequence[str] | None) -> Columns:
    """Return the columns of these names, in their order; ``ValueError`` if ``table`` has no such column.

    Without ``names``, these are all columns.
    """
    if names is None:
        return columns
    if not names:
        raise ValueError("a frame of no columns has no rows either: name one at least")
    by_name = {column.name: column for column in columns}
    if strange := [name for name in names if name not in by_name]:
        raise ValueError(f"table {table} has no column {', '.join(map(repr, strange))}")
    return {by_name[name]: columns[by_name[name]] for name in names}


def typed_frame(columns: Columns, values: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return a frame of the values of each column, with the units in its ``attrs``."""
    frame = pd.DataFrame(
        {
            column.name: pd.Series(given, dtype=_dtype(kind))
            for (column, kind), given in zip(columns.items(), values, strict=True)
        }
    )
    frame.attrs["units"] = {column.name: unit for column in columns if (unit := unit_of(column)) is not None}
    return frame


def _dtype(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, DateTime):
        return "datetime64[us, UTC]" if kind.timezone else "datetime64[us]"
    # A list in a cell, such as a position, stays a list.
    return next((dtype for sort, dtype in _DTYPES.items() if isinstance(kind, sort)), "object")
