"""Keeps the totals of metrics up to date: adds the rows that have ended since the last time."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from strava_pipeline.warehouse.engine import autocommit, plan_for_now
from strava_pipeline.warehouse.finished_rows import BATCH, CountedRows, count_batch, uncounted_tables


def add_finished(engine: Engine, go_on: Callable[[], bool] = lambda: True) -> int:
    """Add the rows that have ended to the totals, each once, until none is left; return how many.

    At least one batch of each table is added, and more only while ``go_on`` says so: after a year without metrics many
    are waiting. Any number of processes may do it at once. One that dies loses nothing: each batch is one transaction.
    """
    with autocommit(engine) as connection:
        waiting = uncounted_tables(connection)
    return sum(_add_all(engine, counted, go_on) for counted in waiting)


def _add_all(engine: Engine, counted: CountedRows, go_on: Callable[[], bool]) -> int:
    added = last = 0
    while True:
        with engine.begin() as connection:
            plan_for_now(connection)
            # What earlier batches marked stays in the index for a while, and need not be passed by again.
            batch, last = count_batch(connection, counted, after=last)
        added += batch
        if batch < BATCH or not go_on():
            return added
