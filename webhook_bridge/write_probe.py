"""Tells whether an event could be stored now, however many ask: one write at a time, and at most one a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.write_probe import probe_write

KEPT_SECONDS = 1.0
LOOK_SECONDS = 0.05
LONGEST_SECONDS = 2.0


@dataclass
class WriteProbe:
    """Writes to the database by ``write``, and keeps the result for a second."""

    engine: Engine
    write: Callable[[Engine], None] = probe_write
    _under_way: threading.Lock = field(default_factory=threading.Lock)
    _began_at: float = float("-inf")
    _ended_at: float = float("-inf")
    _failure: str | None = None

    def check(self) -> None:
        """Return if a write succeeded within the last second; ``DatabaseUnavailable`` says why none does.

        Who finds that a write has been under way for two seconds does not wait for it.
        """
        while not self._under_way.acquire(timeout=LOOK_SECONDS):
            # Who has the lock may not have begun the write yet, or only read the result of the last one.
            is_writing = self._began_at > self._ended_at
            if is_writing and time.monotonic() - self._began_at >= LONGEST_SECONDS:
                raise DatabaseUnavailable(f"the database has not stored what it was given {LONGEST_SECONDS:.0f} s ago")
        try:
            if time.monotonic() - self._ended_at >= KEPT_SECONDS:
                self._began_at = time.monotonic()
                self._failure = self._failure_now()
                self._ended_at = time.monotonic()
        finally:
            self._under_way.release()
        if self._failure is not None:
            raise DatabaseUnavailable(self._failure)

    def _failure_now(self) -> str | None:
        try:
            self.write(self.engine)
        except DatabaseUnavailable as error:
            return str(error)
        return None
