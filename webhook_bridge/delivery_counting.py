"""Puts the counts of deliveries into the tables: a thread of the bridge.

Counts of a bridge that is killed (``kill -9``) are lost, of its last fifteen seconds or since the database is away.
Nothing else is: what could not be stored is stored later, and a bridge that stops stores what it has.
"""

from __future__ import annotations

from sqlalchemy import Engine

from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.watch.deliveries import add_deliveries
from webhook_bridge.delivery_slots import DeliverySlots
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

EVERY_SECONDS = 15.0


class DeliveryCounting(WorkerThread):
    """A thread that stores what has been counted, until stopped; and then once more."""

    def __init__(self, engine: Engine, slots: DeliverySlots) -> None:
        super().__init__("delivery-counting")
        self._engine = engine
        self._slots = slots

    def work(self) -> None:
        """Store the counts again and again."""
        while not self.stopping.is_set():
            self.rest(EVERY_SECONDS)
            self.store()

    def store(self) -> None:
        """Store what has changed; on a database that is away it stays for the next time."""
        self.attempt(self._store, "counts of deliveries are stored later")

    def _store(self) -> None:
        counts = self._slots.unstored()
        add_deliveries(self._engine, counts)
        self._slots.note_stored(counts)
