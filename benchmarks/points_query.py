"""Queries the average heart rate of each month in ten million samples: DuckDB in the lake, Postgres in its view.

``python -m benchmarks.points_query [ACTIVITIES]``: by default, 2,800 activities of 3,600 samples over 24 months of one
athlete. The samples are made up within Postgres, directly in ``activity_streams``, and written into a lake in a
temporary folder by the product's own function, month by month. Each engine answers three times, and the faster of the
last two times counts: both then read from memory, with as many threads as they choose. The answers must be equal. Took
six minutes on two busy cores, five of them for making and writing the samples, and 1 GB of disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Engine, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.months import Span
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.lake import write_month

ATHLETE = 1001
ACTIVITIES = 2_800
POINTS = 3_600
MONTHS = 24
FIRST_YEAR = 2024
TIMES = 3
ACTIVITY_ROWS = """
INSERT INTO strava.activities
    (id, athlete_id, name, type, sport_type, start_date, start_date_local, resource_state, fetched_at)
SELECT n, :athlete, 'Ride ' || n, 'Ride', 'Ride', moment, moment AT TIME ZONE 'UTC', 3, moment + interval '1 hour'
FROM (
    SELECT n, make_timestamptz(:year, 1, 1, 6, 0, 0, 'UTC')
              + make_interval(months => n % :months, days => n / :months % 28)
    FROM generate_series(0, :activities - 1) AS n
) AS made_up(n, moment)
"""
# Values have as many digits and as much noise as Strava's, so that they take as much room.
STREAM_ROWS = """
INSERT INTO strava.activity_streams
    (activity_id, athlete_id, point_count, time, distance, latitude, longitude, altitude, velocity_smooth, heartrate,
     cadence, watts, temp, moving, fetched_at)
SELECT a.id, a.athlete_id, :points, array_agg(s ORDER BY s),
       array_agg(floor(72 * s + 10 * random()) / 10 ORDER BY s),
       array_agg(floor(47e6 + s * 50 + 20 * random()) / 1e6 ORDER BY s),
       array_agg(floor(14e6 + s * 50 + 20 * random()) / 1e6 ORDER BY s),
       array_agg(floor(4000 + s % 900 + 5 * random()) / 10 ORDER BY s),
       array_agg(floor(70 + 20 * random()) / 10 ORDER BY s),
       array_agg(floor(120 + a.id % 20 + 10 * random()) ORDER BY s),
       array_agg(floor(80 + 15 * random()) ORDER BY s),
       array_agg(floor(150 + a.id % 40 + 100 * random()) ORDER BY s),
       array_agg(18 + s / 900 ORDER BY s), array_agg(true ORDER BY s), a.fetched_at
FROM strava.activities AS a CROSS JOIN generate_series(0, :points - 1) AS s
WHERE a.start_date >= :start AND a.start_date < :end
GROUP BY a.id, a.athlete_id, a.fetched_at
"""
IN_POSTGRES = """
SELECT to_char(a.start_date AT TIME ZONE 'UTC', 'YYYY-MM') AS month, avg(p.heartrate), count(*)
FROM strava.activity_points AS p JOIN strava.activities AS a ON a.id = p.activity_id
GROUP BY 1 ORDER BY 1
"""
IN_DUCKDB = """
SELECT CAST(month AS VARCHAR) AS month, avg(heartrate), count(*)
FROM read_parquet('{lake}/*/*/*.parquet', hive_partitioning = true)
GROUP BY 1 ORDER BY 1
"""
Rows = list[tuple[Any, ...]]


def main() -> None:
    """Make the samples, write the lake, and query both engines."""
    activities = int(sys.argv[1]) if sys.argv[1:] else ACTIVITIES
    with (
        migrated_database() as url,
        tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as lake,
    ):
        engine = open_engine(url)
        show("samples", activities * POINTS)
        show("made up in Postgres", _seconds(lambda: _fill(engine, activities)), "s")
        show("written into the lake", _seconds(lambda: _write(engine, lake)), "s")
        show("size of the lake", sum(path.stat().st_size for path in Path(lake).rglob("*.parquet")) / 2**20, "MiB")
        show("size of activity_streams in Postgres", _stored_mib(engine), "MiB")
        theirs, in_lake = _fastest(lambda: _ask_duckdb(lake))
        ours, in_tables = _fastest(lambda: _ask_postgres(engine))
        engine.dispose()
    if not _agree(in_lake, in_tables):
        sys.exit("the two engines disagree")
    show("average heart rate by month, DuckDB over the lake", theirs, "s")
    show("average heart rate by month, Postgres", ours, "s")
    show("Postgres / DuckDB", ours / theirs, "x")
    show("months on which both agree", len(in_lake))


def _fill(engine: Engine, activities: int) -> None:
    with engine.begin() as connection:
        counts = {"athlete": ATHLETE, "year": FIRST_YEAR, "months": MONTHS, "activities": activities}
        connection.execute(text(ACTIVITY_ROWS), counts)
    # One statement for each month, since none may take longer than two minutes.
    for span in _spans():
        with engine.begin() as connection:
            connection.execute(text(STREAM_ROWS), {"points": POINTS, "start": span.start, "end": span.end})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE strava.activities, strava.activity_streams"))


def _write(engine: Engine, lake: str) -> None:
    for span in _spans():
        write_month(engine, lake, span)


def _spans() -> list[Span]:
    firsts = [datetime(FIRST_YEAR + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(MONTHS + 1)]
    return [Span(ATHLETE, start, end) for start, end in pairwise(firsts)]


def _ask_duckdb(lake: str) -> Rows:
    with duckdb.connect() as connection:
        return connection.execute(IN_DUCKDB.format(lake=lake)).fetchall()


def _ask_postgres(engine: Engine) -> Rows:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(IN_POSTGRES))]


def _agree(one: Rows, other: Rows) -> bool:
    """Whether both have equal months and counts of samples, and averages that differ by rounding at most."""
    return len(one) == len(other) and all(
        mine[0] == yours[0] and mine[2] == yours[2] and abs(mine[1] - yours[1]) < 1e-9 * yours[1]
        for mine, yours in zip(one, other, strict=True)
    )


def _stored_mib(engine: Engine) -> float:
    with engine.connect() as connection:
        size = connection.execute(text("SELECT pg_total_relation_size('strava.activity_streams')")).scalar_one()
    return float(size / 2**20)


def _fastest(ask: Callable[[], Rows]) -> tuple[float, Rows]:
    rows = ask()
    return min(_seconds(ask) for _ in range(TIMES - 1)), rows


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
