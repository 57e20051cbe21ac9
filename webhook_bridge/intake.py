"""Stores deliveries together: what arrives while one commit is under way shares the next, and so one flush to the disk.

A delivery that is alone is not kept waiting for others.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseAway
from strava_pipeline.warehouse.webhook_events import NewEvent, Stored, store_events

# Strava gives an answer two seconds; what cannot be stored in this time is refused, and it delivers again.
STORE_SECONDS = 1.5
# More than the server has threads that could wait.
LARGEST_BATCH = 100


@dataclass(frozen=True)
class _Entry:
    event: NewEvent
    outcome: Future[Stored] = field(default_factory=Future)


class Intake:
    """The one way of deliveries into the inbox; its thread starts with the first of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entries: SimpleQueue[_Entry] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def store(self, event: NewEvent) -> Stored:
        """Return once the event is on the disk, or raise ``DatabaseAway`` while Strava still waits for the answer.

        A server that hangs, or a network that swallows packets, answers to no time limit of its own. Should the
        event be stored after all, the next delivery is its duplicate.
        """
        entry = _Entry(event)
        self._entries.put(entry)
        self._start()
        try:
            return entry.outcome.result(timeout=STORE_SECONDS)
        except TimeoutError:
            entry.outcome.cancel()
            raise DatabaseAway("the database did not store an event in time") from None

    def _start(self) -> None:
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch = [self._entries.get()]
            with suppress(Empty):
                while len(batch) < LARGEST_BATCH:
                    batch.append(self._entries.get_nowait())
            # Whoever gave up waiting has answered 503, and Strava delivers again.
            self._settle([entry for entry in batch if entry.outcome.set_running_or_notify_cancel()])

    def _settle(self, batch: list[_Entry]) -> None:
        if not batch:
            return
        try:
            found = store_events(self._engine, [entry.event for entry in batch])
        except Exception as error:  # noqa: BLE001  it is raised where the answer is made
            if len(batch) == 1 or isinstance(error, DatabaseAway):
                for entry in batch:
                    entry.outcome.set_exception(error)
                return
            # An event that cannot be stored must not take its neighbours along.
            for entry in batch:
                self._settle([entry])
            return
        for entry, stored in zip(batch, found, strict=True):
            entry.outcome.set_result(stored)
