"""Hears when events were put into the inbox by somebody else, or fell due, and wakes the dispatcher."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from psycopg import Error as PsycopgError
from psycopg.sql import SQL, Identifier
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.webhook_events import CHANNEL

log = logging.getLogger(__name__)

# How soon a stop is noticed, and a broken connection replaced.
SLICE_SECONDS = 0.5
PAUSE_SECONDS = 2.0


class InboxListener:
    """A thread with a database connection of its own; what it misses while that is broken, polling finds."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._wake = wake
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End within a slice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (StravaPipelineError, SQLAlchemyError, PsycopgError) as error:
                log.warning("not listening for news of the inbox: %s", str(error).partition("\n")[0])
                self._stop.wait(PAUSE_SECONDS)

    def _listen(self) -> None:
        with self._engine.connect() as connection:
            driver = driver_of(connection)
            # No longer one of the pool's: it is held as long as the bridge runs.
            connection.detach()
            driver.autocommit = True
            driver.execute(SQL("LISTEN {}").format(Identifier(CHANNEL)))
            # What was told before anyone listened.
            self._wake()
            while not self._stop.is_set():
                for _ in driver.notifies(timeout=SLICE_SECONDS, stop_after=1):
                    self._wake()
