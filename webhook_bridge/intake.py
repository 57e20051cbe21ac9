"""Stores deliveries in batches: those that arrive during one commit share the next, and so one flush to the disk.

A lone delivery does not wait for others.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox.events import NewEvent, StoredEvent, store_events

# Strava waits two seconds for an answer. An event that is not stored by then is refused with 503, and delivered again.
STORE_SECONDS = 1.5
# More than the server has threads, each of which waits for one event.
LARGEST_BATCH = 100


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass
class _Entry:
    """A delivery that waits for its outcome, by a bare lock: a ``Future`` would cost several times as much."""

    event: NewEvent
    outcome: StoredEvent | Exception = field(init=False)
    is_refused: bool = False
    settled: threading.Lock = field(default_factory=_locked)

    def settle(self, outcome: StoredEvent | Exception) -> None:
        self.outcome = outcome
        self.settled.release()


class Intake:
    """Stores all deliveries in the inbox, in one thread, which starts with the first delivery."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entries: SimpleQueue[_Entry] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def store(self, event: NewEvent) -> StoredEvent:
        """Return once the event is on the disk; ``DatabaseUnavailable`` after 1.5 s, while Strava still waits.

        The time limit is kept here, since a server that hangs, or a network that loses packets, keeps none. If the
        event is stored after all, Strava's next delivery is found to be a duplicate.
        """
        entry = _Entry(event)
        self._entries.put(entry)
        self._start()
        if not entry.settled.acquire(timeout=STORE_SECONDS):
            entry.is_refused = True
            raise DatabaseUnavailable("the database did not store an event in time")
        if isinstance(entry.outcome, Exception):
            raise entry.outcome
        return entry.outcome

    def _start(self) -> None:
        with self._guard:
            # If the thread ever ends, the next delivery starts another: nobody has to restart the bridge for it.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch, outcomes = self._worked_off(self._gathered())
            if any(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes):
                # The pool does not test a connection that was just used, and the server may have restarted since. Try
                # again on a fresh connection; events that were stored after all are found to be duplicates.
                batch, outcomes = self._worked_off(batch)
            _settle(batch, outcomes)

    def _worked_off(self, batch: list[_Entry]) -> tuple[list[_Entry], list[StoredEvent | Exception]]:
        """Store a batch and, by one connection, the batches that come meanwhile; returns the last, not settled yet."""
        try:
            # To take a connection from the pool, which may test it first, costs more than to store a batch: keep it as
            # long as more events come.
            with autocommit(self._engine) as connection:
                outcomes = _stored(connection, batch)
                while not self._entries.empty():
                    _settle(batch, outcomes)
                    batch = self._gathered()
                    outcomes = _stored(connection, batch)
        except Exception as error:  # noqa: BLE001  it is raised where the answer is made
            outcomes = [error] * len(batch)
        return batch, outcomes

    def _gathered(self) -> list[_Entry]:
        """Wait for an entry; returns all that have come by now, except those that were refused meanwhile."""
        batch = [self._entries.get()]
        with suppress(Empty):
            while len(batch) < LARGEST_BATCH:
                batch.append(self._entries.get_nowait())
        # A refused delivery was answered 503; Strava delivers it again.
        return [entry for entry in batch if not entry.is_refused]


def _stored(connection: Connection, batch: Sequence[_Entry]) -> list[StoredEvent | Exception]:
    """The outcome of each entry. ``DatabaseUnavailable`` is raised, since it concerns them all."""
    if not batch:
        return []
    try:
        return [*store_events(connection, [entry.event for entry in batch])]
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  it is raised where the answer is made
        if len(batch) == 1:
            return [error]
        # One event that cannot be stored must not fail the others of its batch.
        return [outcome for entry in batch for outcome in _stored(connection, [entry])]


def _settle(batch: Sequence[_Entry], outcomes: Sequence[StoredEvent | Exception]) -> None:
    for entry, outcome in zip(batch, outcomes, strict=True):
        entry.settle(outcome)
