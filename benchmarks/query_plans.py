"""Measures the queries that have to stay fast with many athletes, and prints which tables they read as a whole.

``python -m benchmarks.query_plans [ATHLETES]`` fills a database with ATHLETES (1000) athletes of 1000 activities, 2000
answers and 1000 events each; a query's time is the shortest of ten runs on a warm cache, so that other work on the
machine counts little. ``--home FOLDER`` keeps the database there, or uses the one that is there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sqlalchemy import Engine

from benchmarks.figure import show
from benchmarks.filled_database import filled_database
from benchmarks.many_athletes_data import Size
from strava_pipeline_tests.hot_queries import HOT_QUERIES, Asked, HotQuery, asked_of
from strava_pipeline_tests.query_plans import large_relations, watched_plans

TARGET = "100"
RUNS = 10
# Smaller tables may be read as a whole.
MANY_ROWS = 10_000


def main() -> None:
    """Fill a database, and print each query's time and what it reads as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("athletes", type=int, nargs="?", default=Size.athletes)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    with filled_database(given.home, Size(given.athletes)) as engine:
        with engine.connect() as connection:
            asked = asked_of(connection)
        for query in HOT_QUERIES:
            show(query.name, _milliseconds(engine, query, asked), "ms", TARGET)
            for name in _whole(engine, query, asked):
                print(f"    reads all of {name}", flush=True)


def _milliseconds(engine: Engine, query: HotQuery, asked: Asked) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        query.run(engine, asked)
        times.append(1000 * (time.perf_counter() - began))
    return min(times)


def _whole(engine: Engine, query: HotQuery, asked: Asked) -> list[str]:
    with watched_plans(engine) as plans:
        query.run(engine, asked)
    with engine.connect() as connection:
        return sorted(query.read_as_a_whole(plans, large_relations(connection, MANY_ROWS)))


if __name__ == "__main__":
    main()
