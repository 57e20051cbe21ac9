"""Opens a database with many athletes: one that was filled before, or one that is filled now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from benchmarks.database import kept_server, migrated_server, owner_url
from benchmarks.figure import show
from benchmarks.many_athletes_data import Size, fill
from strava_pipeline.warehouse.athletes.athlete_status import count_athletes
from strava_pipeline.warehouse.engine import open_engine


@contextmanager
def filled_database(home: Path | None, size: Size) -> Iterator[Engine]:
    """Yield an engine of the tables' owner; the database stays in ``home`` if that is given, and is used again."""
    with migrated_server() if home is None else kept_server(home) as server:
        engine = open_engine(owner_url(server))
        with engine.connect() as connection:
            is_empty = count_athletes(connection) == 0
        if is_empty:
            began = time.perf_counter()
            fill(engine, size)
            show(f"filling {size.activities:,} activities", time.perf_counter() - began, "s")
        yield engine
        engine.dispose()
