"""Rows of partitions of an asset as a pandas frame: what another asset in Dagster gets as its input.

A partition is an athlete (``1001``), or an athlete's UTC month (``1001|2024-05-01``): then its rows are those of the
activities that started in that month.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import pandas as pd
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Engine,
    FromClause,
    Integer,
    Select,
    Table,
    column,
    func,
    literal,
    select,
)
from sqlalchemy import table as named_table
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.frames.typed import STREAMS, Columns, chosen, read_frame, typed_columns
from strava_pipeline.months import MONTHS_PER_YEAR, Span, enclosing_span, month_span, month_start
from strava_pipeline.names import Asset, athlete_of_key, month_of_key
from strava_pipeline.warehouse.schema.analysis_tables import ANALYSIS_TABLES, training_load
from strava_pipeline.warehouse.schema.archive_tables import archive_figures, recording_channels, recordings
from strava_pipeline.warehouse.schema.columns import UTC_TIME
from strava_pipeline.warehouse.schema.tables import (
    SCHEMA,
    activities,
    activity_streams,
    athlete_stats,
    athlete_zones,
    athletes,
    best_efforts,
    gear,
    laps,
    photos,
    segment_efforts,
    splits,
)


@dataclass(frozen=True)
class Rows:
    """A table or view of schema ``strava``: its ``columns``, where they are read, and what tells its rows apart.

    ``activity_id``: whose start decides about the month; ``None`` if the rows are an athlete's.
    """

    name: str
    columns: Columns
    source: FromClause
    athlete_id: ColumnElement[int]
    activity_id: ColumnElement[int] | None
    key: tuple[ColumnElement[Any], ...]

    def read(
        self, engine: Engine, partitions: Collection[str] | None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Read the rows of these partitions, or all, oldest first; ``columns`` names the wanted ones in their order.

        Dtypes and units are those of all frames (:mod:`strava_pipeline.frames`). Without rows, or partitions, the frame
        is empty. ``ValueError`` for a column that does not exist; ``WarehouseError`` if the tables are another
        version's.
        """
        wanted = chosen(self.name, self.columns, columns)
        query = select(*(self.source.c[each.name] for each in wanted)).select_from(self.source)
        return read_frame(engine, self._ordered(self._limited(query, partitions)), wanted)

    def _limited(self, query: Select[Any], partitions: Collection[str] | None) -> Select[Any]:
        if self.activity_id is not None and self.source is not activities:
            query = query.join(activities, activities.c.id == self.activity_id)
        if partitions is None:
            return query
        if self.activity_id is None:
            ids = sorted({int(athlete_of_key(key)) for key in partitions})
            return query.where(self.athlete_id == func.any(literal(ids, ARRAY(BigInteger))))
        asked = _as_table(list(_spans(partitions)))
        starts = activities.c.start_date
        same = (activities.c.athlete_id == asked.c.athlete_id) & (starts >= asked.c.start) & (starts < asked.c.end)
        return query.join(asked, same)

    def _ordered(self, query: Select[Any]) -> Select[Any]:
        if self.activity_id is None:
            return query.order_by(self.athlete_id, *self.key)
        return query.order_by(activities.c.start_date, self.activity_id, *self.key)


def _rows(table: Table, athlete_id: str = "athlete_id", activity_id: str | None = None) -> Rows:
    by_activity = None if activity_id is None else table.c[activity_id]
    return Rows(table.name, typed_columns(table.c), table, table.c[athlete_id], by_activity, tuple(table.primary_key))


def _points() -> Rows:
    """The samples, from the view."""
    ids = (activity_streams.c.activity_id, activity_streams.c.athlete_id)
    number: Column[Any] = Column("point_index", Integer, comment="number of the sample, from 0")
    columns = {**typed_columns((*ids, number)), **STREAMS}
    view = named_table("activity_points", *(column(each.name, kind) for each, kind in columns.items()), schema=SCHEMA)
    return Rows(view.name, columns, view, view.c.athlete_id, view.c.activity_id, (view.c.point_index,))


# What each asset writes; its first table stands for the asset, as in Dagster's UI.
ROWS: Final[Mapping[str, tuple[Rows, ...]]] = {
    Asset.ATHLETES: (_rows(athletes, "id"), _rows(athlete_stats), _rows(athlete_zones)),
    Asset.GEAR: (_rows(gear),),
    Asset.ACTIVITIES: (_rows(activities, activity_id="id"),),
    Asset.DETAILS: tuple(
        _rows(table, activity_id="activity_id") for table in (laps, splits, best_efforts, segment_efforts, photos)
    ),
    Asset.STREAMS: (_rows(activity_streams, activity_id="activity_id"),),
    Asset.ANALYSES: tuple(_rows(table, activity_id="activity_id") for table in ANALYSIS_TABLES),
    Asset.LAKE: (_points(),),
    Asset.TRAINING_LOAD: (_rows(training_load),),
    # An athlete's, of whatever month: what was handed in as a whole is one partition.
    Asset.ARCHIVE_FILES: tuple(_rows(table) for table in (recordings, recording_channels, archive_figures)),
}


def rows_of(asset: str, table: str | None = None) -> Rows:
    """Return what is to be read of an asset: its first table, or the one named ``table``.

    ``ValueError`` if the asset does not write such a table.
    """
    written = {rows.name: rows for rows in ROWS[asset]}
    if table is None:
        return ROWS[asset][0]
    if table not in written:
        raise ValueError(f"asset {asset} writes {', '.join(written)}, and no table {table!r}: name one of them")
    return written[table]


def _spans(partitions: Collection[str]) -> Iterator[Span]:
    """The time of these athletes' months; months that follow each other make one span."""
    months = sorted(
        (int(athlete_of_key(key)), month_start(month)) for key in partitions if (month := month_of_key(key)) is not None
    )
    for athlete_id, theirs in groupby(months, key=lambda month: month[0]):
        spans = [month_span(athlete_id, start) for _, start in theirs]
        for _, run in groupby(enumerate(spans), key=lambda numbered: _month_number(numbered[1].start) - numbered[0]):
            yield enclosing_span([span for _, span in run])


def _month_number(start: datetime) -> int:
    return start.year * MONTHS_PER_YEAR + start.month


def _as_table(spans: Sequence[Span]) -> FromClause:
    ids = literal([span.athlete_id for span in spans], ARRAY(BigInteger))
    starts, ends = (literal([getattr(span, side) for span in spans], ARRAY(UTC_TIME)) for side in ("start", "end"))
    columns = (column("athlete_id", BigInteger), column("start", UTC_TIME), column("end", UTC_TIME))
    return func.unnest(ids, starts, ends).table_valued(*columns, name="asked").render_derived()
