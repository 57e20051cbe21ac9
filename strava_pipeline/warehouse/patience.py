"""Lets a thread wait for the database where it needs the next connection, instead of failing.

All that a thread does with the database goes on where it stands: what it has fetched and holds in memory is not lost.
Only the thread that asks for it waits. Heartbeats, views and signal handlers of the same process are told at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import psycopg

from strava_pipeline.warehouse.connecting import Session, refuses_writes

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 20.0
TELL_EVERY_SECONDS = 600.0


@dataclass
class DatabasePatience:
    """How long a thread waits for the database, in all, s; ``tell`` gets the reason, and that a wait is over.

    ``pause`` lets a time in seconds pass; it may raise, which ends the wait.
    """

    left_s: float
    tell: Callable[[str], None]
    pause: Callable[[float], object] = time.sleep

    def waits(self) -> Wait:
        """Return a new wait within this patience."""
        return Wait(self)


@dataclass
class Wait:
    """One wait for the database: pauses that grow, told of at once and every ten minutes."""

    patience: DatabasePatience
    waited_s: float = 0.0
    _told_at_s: float = -TELL_EVERY_SECONDS
    _pause_s: float = FIRST_PAUSE_SECONDS

    def rest(self, reason: str, tried_s: float = 0.0) -> bool:
        """Let a pause pass after a try that took ``tried_s``; False, at once, if the patience is used up."""
        if self.patience.left_s <= 0:
            return False
        if self.waited_s - self._told_at_s >= TELL_EVERY_SECONDS:
            self.patience.tell(f"waiting: {reason}")
            self._told_at_s = self.waited_s
        began, pause_s = time.monotonic(), min(self._pause_s, self.patience.left_s)
        self.patience.pause(pause_s)
        spent_s = max(time.monotonic() - began + tried_s, pause_s)
        self.patience.left_s -= spent_s
        self.waited_s += spent_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_SECONDS)
        return True


_of_this_thread: ContextVar[DatabasePatience | None] = ContextVar("patience", default=None)


@contextmanager
def patient(patience: DatabasePatience | None) -> Iterator[None]:
    """Let this thread wait for the database during the block."""
    token = _of_this_thread.set(patience)
    try:
        yield
    finally:
        _of_this_thread.reset(token)


def connect_patiently(connect: Callable[[], Session], describe: Callable[[psycopg.Error], str]) -> Session:
    """Return a connection by ``connect``; in a thread that is patient, wait for one that accepts writes.

    Once the patience is used up, the driver's error is raised, or a connection that accepts none is returned.
    """
    patience = _of_this_thread.get()
    if patience is None:
        return connect()
    wait = patience.waits()
    while True:
        began = time.monotonic()
        try:
            connection = connect()
            refuses = refuses_writes(connection)
        except psycopg.Error as error:
            if not wait.rest(describe(error), time.monotonic() - began):
                raise
            continue
        if not refuses or patience.left_s <= 0:
            if wait.waited_s:
                patience.tell(f"the database answers again after {wait.waited_s:.0f} s")
            return connection
        connection.close()
        wait.rest(describe(psycopg.errors.ReadOnlySqlTransaction("it is read-only")), time.monotonic() - began)
