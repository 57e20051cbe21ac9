"""Reads tables as pandas frames, for notebooks and scripts of analysts.

``source`` says where the tables are: an address as ``strava-pipeline analysts add`` prints it, or an engine. Without
``source``, a frame is read with this installation's login for analysts, which can read nothing but schema ``strava``
(``strava-pipeline sql --as-analyst`` uses that login, too).

Columns have the names and meanings of the data dictionary. Their dtypes never depend on the rows, not even if there are
none. ``frame.attrs["units"]`` names the unit of each column that has one. An empty field is ``<NA>`` (a time: ``NaT``),
never NaN or 0, so that ids and counts stay whole numbers. Times are in UTC; columns that end in ``_local`` hold wall
time at the place of the activity, without a time zone.

Errors: ``WarehouseError`` and those below it; ``ConfigurationError`` for an address, or settings, without a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import URL, Boolean, Column, Date, DateTime, Double, Engine, Integer, Select, Text, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.types import TypeEngine

from strava_pipeline.errors import UnknownActivity, UnknownAthlete, WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import ensure_sql_url, open_engine, parse_url
from strava_pipeline.warehouse.migrate import open_warehouse
from strava_pipeline.warehouse.schema import analysis_tables, tables
from strava_pipeline.warehouse.schema.column_units import unit_of

MOST_ROWS = 100_000
ROWS_AT_ONCE = 1_000
Source = Engine | str | None
# Postgres' codes for a missing table and a missing column.
_NOT_THERE = ("42P01", "42703")
# Columns, and the SQL type of their values.
Columns = Mapping[Column[Any], TypeEngine[Any]]
_STREAMS: Columns = {
    column: column.type.item_type for column in tables.activity_streams.c if isinstance(column.type, ARRAY)
}
_DTYPES: dict[type[TypeEngine[Any]], str] = {
    Boolean: "boolean",
    Integer: "Int64",
    Double: "Float64",
    Text: "string",
    Date: "datetime64[us]",
}


def activities(
    source: Source = None,
    *,
    athlete_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    columns: Sequence[str] | None = None,
    most_rows: int = MOST_ROWS,
) -> pd.DataFrame:
    """Read the activities with ``start <= start_date < end``, of one athlete or of all, oldest first.

    ``columns``: names of the wanted columns, in the wanted order; by default, all of table ``activities``.
    ``UnknownAthlete`` if there is no athlete ``athlete_id``; ``WarehouseError`` if there are more than ``most_rows``
    activities, since a frame is in memory as a whole; ``ValueError`` for a column that does not exist, and for a
    ``start`` or ``end`` without a time zone.
    """
    table = tables.activities
    wanted = _chosen(columns)
    query = select(*wanted).order_by(table.c.start_date, table.c.id).limit(most_rows + 1)
    if athlete_id is not None:
        query = query.where(table.c.athlete_id == athlete_id)
    if start is not None:
        query = query.where(table.c.start_date >= _with_time_zone("start", start))
    if end is not None:
        query = query.where(table.c.start_date < _with_time_zone("end", end))
    with _opened(source) as engine:
        values = _read(engine, query)
        row_count = max(map(len, values), default=0)
        if not row_count and athlete_id is not None:
            _check_athlete(engine, athlete_id)
    if row_count > most_rows:
        raise WarehouseError(
            f"there are more than {most_rows:,} such activities: ask for one athlete or a shorter time, or, where the"
            " memory suffices, give a larger most_rows"
        )
    return _frame(wanted, values)


def streams(activity_id: int, source: Source = None) -> pd.DataFrame:
    """Read the samples of one activity, a row for each; ``time`` is in s since the start.

    The index numbers the samples from 0, as ``start_index`` and ``end_index`` of laps and efforts do. A stream that was
    not recorded is a column of ``<NA>``; an activity without samples, such as one entered by hand, has no rows.
    ``UnknownActivity`` if the activity is not stored; ``WarehouseError`` if only its samples are not stored yet.
    """
    table, activity = tables.activity_streams, tables.activities.c.id
    query: Select[Any] = select(table.c.point_count, *_STREAMS).select_from(tables.activities)
    query = query.outerjoin(table, table.c.activity_id == activity).where(activity == activity_id)
    with _opened(source) as engine:
        counts, *lists = _read(engine, query)
    if not counts:
        raise UnknownActivity(f"activity {activity_id} is not in the tables")
    (point_count,) = counts
    if point_count is None:
        raise WarehouseError(
            f"the samples of activity {activity_id} are not stored yet: materialize activity_streams for its month"
        )
    return _frame(_STREAMS, (samples or [None] * point_count for (samples,) in lists)).rename_axis(index="point_index")


def training_load(athlete_id: int, source: Source = None) -> pd.DataFrame:
    """Read the training load of an athlete, a row for each day since the first activity; the index is the local day.

    ``UnknownAthlete`` if there is no such athlete.
    """
    table = analysis_tables.training_load
    query = select(table).where(table.c.athlete_id == athlete_id).order_by(table.c.day)
    with _opened(source) as engine:
        values = _read(engine, query)
        if not values[0]:
            _check_athlete(engine, athlete_id)
    return _frame(_typed(table.c), values).set_index("day")


@contextmanager
def _opened(source: Source) -> Iterator[Engine]:
    """The engine to read with; an engine that is created here is also closed here."""
    if isinstance(source, Engine):
        yield source
        return
    engine = open_engine(_own_url() if source is None else parse_url(source, "the source of a frame"))
    try:
        yield engine
    finally:
        engine.dispose()


def _own_url() -> URL:
    settings = load_settings()
    if settings.analyst_database_url is None:
        # Gives an empty database its tables and logins, as every command does.
        with open_warehouse(settings):
            pass
    return ensure_sql_url(settings, Login.SQL_AS_ANALYST)


def _read(engine: Engine, query: Select[Any]) -> list[list[Any]]:
    """The values of a query, by column. Rows are read in parts, so they are never in memory all at once."""
    try:
        with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
            result = connection.execute(query)
            columns: list[list[Any]] = [[] for _ in query.selected_columns]
            for rows in result.partitions():
                for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                    column.extend(values)
            return columns
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in _NOT_THERE:
            raise
        raise WarehouseError(
            "the tables there are not the ones this version reads: run strava-pipeline migrate there, or install the"
            " version that made them"
        ) from error


def _check_athlete(engine: Engine, athlete_id: int) -> None:
    """Raise ``UnknownAthlete`` unless the athlete is in the tables."""
    known = tables.athletes.c.id
    (found,) = _read(engine, select(known).where(known == athlete_id))
    if not found:
        raise UnknownAthlete(f"athlete {athlete_id} is not in the tables")


def _chosen(names: Sequence[str] | None) -> Columns:
    columns = tables.activities.c
    if names is None:
        return _typed(columns)
    if not names:
        raise ValueError("a frame of no columns has no rows either: name one at least")
    if strange := [name for name in names if name not in columns]:
        raise ValueError(f"table activities has no column {', '.join(map(repr, strange))}")
    return _typed(columns[name] for name in names)


def _typed(columns: Iterable[Column[Any]]) -> Columns:
    return {column: column.type for column in columns}


def _with_time_zone(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone: give one, such as datetime.UTC")
    return moment


def _frame(columns: Columns, values: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A frame of the values of each column, with the units in its ``attrs``."""
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
