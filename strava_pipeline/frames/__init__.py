"""Reads tables as pandas frames, for notebooks and scripts of analysts.

``source`` says where the tables are: an address as ``strava-pipeline analysts add`` prints it, or an engine. Without
``source``, a frame is read with this installation's login for analysts, which can read nothing but schema ``strava``
(``strava-pipeline sql --as-analyst`` uses that login, too). While the database is away, such a frame is read from the
replica, if there is one (``STRAVA_DATABASE_REPLICA_URL``); a warning in the log says so, and as of when. Where
``STRAVA_DATABASE_URL`` is not set, the embedded Postgres is read if it runs, and not started.

Columns have the names and meanings of the data dictionary. Their dtypes never depend on the rows, not even if there are
none. ``frame.attrs["units"]`` names the unit of each column that has one. An empty field is ``<NA>`` (a time: ``NaT``),
never NaN or 0, so that ids and counts stay whole numbers. Times are in UTC; columns that end in ``_local`` hold wall
time at the place of the activity, without a time zone.

Errors: ``WarehouseError`` and those below it; ``ConfigurationError`` for an address, or settings, without a database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import URL, Engine, Select, select

from strava_pipeline.errors import ConfigurationError, UnknownActivity, UnknownAthlete, WarehouseError
from strava_pipeline.frames.typed import STREAMS, chosen, read_columns, typed_columns, typed_frame
from strava_pipeline.local.running_postgres import PostgresNotRunning, with_running_postgres
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.reading import find_analyst_url
from strava_pipeline.warehouse.schema import analysis_tables, tables

MOST_ROWS = 100_000
Source = Engine | str | None
log = get_logger(__name__)


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
    wanted = chosen(table.name, typed_columns(table.c), columns)
    query = select(*wanted).order_by(table.c.start_date, table.c.id).limit(most_rows + 1)
    if athlete_id is not None:
        query = query.where(table.c.athlete_id == athlete_id)
    if start is not None:
        query = query.where(table.c.start_date >= _with_time_zone("start", start))
    if end is not None:
        query = query.where(table.c.start_date < _with_time_zone("end", end))
    with _opened(source) as engine:
        values = read_columns(engine, query)
        row_count = max(map(len, values), default=0)
        if not row_count and athlete_id is not None:
            _check_athlete(engine, athlete_id)
    if row_count > most_rows:
        raise WarehouseError(
            f"there are more than {most_rows:,} such activities: ask for one athlete or a shorter time, or, where the"
            " memory suffices, give a larger most_rows"
        )
    return typed_frame(wanted, values)


def streams(activity_id: int, source: Source = None) -> pd.DataFrame:
    """Read the samples of one activity, a row for each; ``time`` is in s since the start.

    The index numbers the samples from 0, as ``start_index`` and ``end_index`` of laps and efforts do. A stream that was
    not recorded is a column of ``<NA>``; an activity without samples, such as one entered by hand, has no rows.
    ``UnknownActivity`` if the activity is not stored; ``WarehouseError`` if only its samples are not stored yet.
    """
    table, activity = tables.activity_streams, tables.activities.c.id
    query: Select[Any] = select(table.c.point_count, *STREAMS).select_from(tables.activities)
    query = query.outerjoin(table, table.c.activity_id == activity).where(activity == activity_id)
    with _opened(source) as engine:
        counts, *lists = read_columns(engine, query)
    if not counts:
        raise UnknownActivity(f"activity {activity_id} is not in the tables")
    (point_count,) = counts
    if point_count is None:
        raise WarehouseError(
            f"the samples of activity {activity_id} are not stored yet: materialize activity_streams for its month"
        )
    frame = typed_frame(STREAMS, (samples or [None] * point_count for (samples,) in lists))
    return frame.rename_axis(index="point_index")


def training_load(athlete_id: int, source: Source = None) -> pd.DataFrame:
    """Read the training load of an athlete, a row for each day since the first activity; the index is the local day.

    ``UnknownAthlete`` if there is no such athlete.
    """
    table = analysis_tables.training_load
    query = select(table).where(table.c.athlete_id == athlete_id).order_by(table.c.day)
    with _opened(source) as engine:
        values = read_columns(engine, query)
        if not values[0]:
            _check_athlete(engine, athlete_id)
    return typed_frame(typed_columns(table.c), values).set_index("day")


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
    if settings.database_url is None and settings.analyst_database_url is None:
        settings = _of_running_postgres(settings)
    reading = find_analyst_url(settings)
    if reading.replica is not None:
        log.warning("%s", reading.replica)
    return reading.value


def _of_running_postgres(settings: Settings) -> Settings:
    """Settings that name the embedded Postgres; a frame starts one only if ``STRAVA_DATABASE_URL`` says so."""
    try:
        return with_running_postgres(settings.with_embedded_database())
    except PostgresNotRunning as error:
        raise ConfigurationError(
            f"STRAVA_DATABASE_URL is not set, and {error}: start strava-pipeline up, or set it to the address of the"
            " tables, or to `embedded`, which starts that Postgres"
        ) from None


def _check_athlete(engine: Engine, athlete_id: int) -> None:
    """Raise ``UnknownAthlete`` unless the athlete is in the tables."""
    known = tables.athletes.c.id
    (found,) = read_columns(engine, select(known).where(known == athlete_id))
    if not found:
        raise UnknownAthlete(f"athlete {athlete_id} is not in the tables")


def _with_time_zone(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone: give one, such as datetime.UTC")
    return moment
