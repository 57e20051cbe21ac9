"""Stores deliveries together: what arrives while one commit is under way shares the next, and so one flush to the disk.

A delivery that is alone is not kept waiting for others.
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
from strava_pipeline.warehouse.inbox.events import NewEvent, Stored, store_events

# Strava gives an answer two seconds; what cannot be stored in this time is refused, and it delivers again.
STORE_SECONDS = 1.5
# More than the server has threads that could wait.
LARGEST_BATCH = 100


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass
class _Entry:
    """A delivery that waits for its outcome. A bare lock wakes it: a ``Future`` would cost several times as much."""

    event: NewEvent
    outcome: Stored | Exception = field(init=False)
    is_refused: bool = False
    settled: threading.Lock = field(default_factory=_locked)

    def settle(self, outcome: Stored | Exception) -> None:
        self.outcome = outcome
        self.settled.release()


class Intake:
    """The one way of deliveries into the inbox; its thread starts with the first of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entries: SimpleQueue[_Entry] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def store(self, event: NewEvent) -> Stored:
        """Return once the event is on the disk; ``DatabaseUnavailable`` while Strava still waits for the answer.

        A server that hangs, or a network that swallows packets, answers to no time limit of its own. Should the
        event be stored after all, the next delivery is its duplicate.
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
            # Should it ever end, no delivery must be refused for it until somebody restarts the bridge.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch, outcomes = self._worked_off(self._gathered())
            if any(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes):
                # Nobody has asked a connection that was used just now whether it lives: the server may have started
                # anew since. The next one is fresh, and finds what was stored all the same to be a duplicate.
                batch, outcomes = self._worked_off(batch)
            _settle(batch, outcomes)

    def _worked_off(self, batch: list[_Entry]) -> tuple[list[_Entry], list[Stored | Exception]]:
        """Store a batch, and by the same connection what has come meanwhile; the last of them is yet to be settled."""
        try:
            # To take a connection from the pool, which sees first whether it still lives, costs more than to store by
            # it: it is kept as long as more has come meanwhile.
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
        """All that have come by now, at least one of them, but for those whose senders were refused meanwhile."""
        batch = [self._entries.get()]
        with suppress(Empty):
            while len(batch) < LARGEST_BATCH:
                batch.append(self._entries.get_nowait())
        # Whoever gave up waiting has answered 503, and Strava delivers again.
        return [entry for entry in batch if not entry.is_refused]


def _stored(connection: Connection, batch: Sequence[_Entry]) -> list[Stored | Exception]:
    """What became of each; ``DatabaseUnavailable`` for all of them."""
    if not batch:
        return []
    try:
        return [*store_events(connection, [entry.event for entry in batch])]
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  it is raised where the answer is made
        if len(batch) == 1:
            return [error]
        # An event that cannot be stored must not take its neighbours along.
        return [outcome for entry in batch for outcome in _stored(connection, [entry])]


def _settle(batch: Sequence[_Entry], outcomes: Sequence[Stored | Exception]) -> None:
    for entry, outcome in zip(batch, outcomes, strict=True):
        entry.settle(outcome)
