"""One worker per piece of work: whoever comes second waits, and then finds it done.

The lock is the session's, so that it ends with the process that holds it, however that ends. Should its connection
break, two workers may fetch the same: that costs requests, and spoils nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine, text

from strava_pipeline.errors import DatabaseAway
from strava_pipeline.warehouse.engine import autocommit

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LOG_EVERY_SECONDS = 60.0


@contextmanager
def only_worker(engine: Engine, work: str, waits: Callable[[float], None]) -> Iterator[None]:
    """Be the only process at ``work``; ``waits`` is told of each pause (s) before that is so."""
    lock = {"work": f"strava-pipeline {work}"}
    # Not within a transaction: one that stays open for hours keeps the database from tidying up.
    with autocommit(engine) as connection:
        waited, logged = 0.0, -LOG_EVERY_SECONDS
        attempt = text("SELECT pg_try_advisory_lock(hashtextextended(:work, 0))")
        while not connection.execute(attempt, lock).scalar_one():
            if waited - logged >= LOG_EVERY_SECONDS:
                log.info("another run is at %s: waiting for it", work)
                logged = waited
            waits(POLL_SECONDS)
            time.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        try:
            yield
        finally:
            with suppress(DatabaseAway):
                connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:work, 0))"), lock)
