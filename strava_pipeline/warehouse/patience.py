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
from typing import Any

import psycopg

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 20.0
TELL_EVERY_SECONDS = 600.0
# The server reports both by itself, at a login and at each change; versions before 14 do not.
_REFUSE_WRITES = ("in_hot_standby", "default_transaction_read_only")

Driver = psycopg.Connection[Any]


@dataclass
class DatabasePatience:
    """How long a thread waits for the database, in all, s; ``tell`` gets the reason, and that a wait is over.

    ``pause`` lets a time in seconds pass; it may raise, which ends the wait.
    """

    left_s: float
    tell: Callable[[str], None]
    pause: Callable[[float], object] = time.sleep


_of_this_thread: ContextVar[DatabasePatience | None] = ContextVar("patience", default=None)


@contextmanager
def patient(patience: DatabasePatience | None) -> Iterator[None]:
    """Let this thread wait for the database during the block."""
    token = _of_this_thread.set(patience)
    try:
        yield
    finally:
        _of_this_thread.reset(token)


def connect_patiently(connect: Callable[[], Driver], describe: Callable[[psycopg.Error], str]) -> Driver:
    """Return a connection by ``connect``; in a thread that is patient, wait for one that accepts writes.

    Once the patience is used up, the driver's error is raised, or a connection that accepts none is returned.
    """
    patience = _of_this_thread.get()
    if patience is None:
        return connect()
    waited_s, told_at, pause_s = 0.0, -TELL_EVERY_SECONDS, FIRST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        try:
            connection = connect()
        except psycopg.Error as error:
            if patience.left_s <= 0:
                raise
            reason = describe(error)
        else:
            if not _refuses_writes(connection) or patience.left_s <= 0:
                if waited_s:
                    patience.tell(f"the database answers again after {waited_s:.0f} s")
                return connection
            connection.close()
            reason = describe(psycopg.errors.ReadOnlySqlTransaction("it is read-only"))
        if waited_s - told_at >= TELL_EVERY_SECONDS:
            patience.tell(f"waiting: {reason}")
            told_at = waited_s
        pause_s = min(pause_s, patience.left_s)
        patience.pause(pause_s)
        spent_s = max(time.monotonic() - began, pause_s)
        patience.left_s -= spent_s
        waited_s += spent_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_SECONDS)


def _refuses_writes(connection: Driver) -> bool:
    return any(connection.info.parameter_status(name) == "on" for name in _REFUSE_WRITES)
