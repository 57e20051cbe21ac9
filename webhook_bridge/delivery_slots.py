"""What became of this process's deliveries, in slots of five minutes, until it stands in the tables."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from strava_pipeline.warehouse.states import DeliveryOutcome
from strava_pipeline.warehouse.watch.deliveries import CountedDeliveries

SLOT_SECONDS = 300


@dataclass
class _Count:
    deliveries: int = 0
    slowest_ms: int = 0
    subscription_id: int | None = None
    is_stored: bool = False


class DeliverySlots:
    """Totals by slot, outcome and reason; a slot is dropped once it is over and stored.

    ``clock``: unix time, s. It is this process's own clock, since no delivery waits for the database's.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._bridge = secrets.token_hex(8)
        self._guard = threading.Lock()
        # (start of the slot, unix s; outcome; reason)
        self._counts: dict[tuple[int, DeliveryOutcome, str], _Count] = {}

    def add(self, outcome: DeliveryOutcome, reason: str, seconds: float, subscription_id: int | None = None) -> None:
        """Count a delivery that was answered just now, after so many seconds."""
        with self._guard:
            count = self._counts.setdefault((self._current_slot(), outcome, reason), _Count())
            count.deliveries += 1
            count.slowest_ms = max(count.slowest_ms, round(seconds * 1000))
            count.subscription_id = subscription_id or count.subscription_id
            count.is_stored = False

    def unstored(self) -> list[CountedDeliveries]:
        """The totals that have changed since they were stored, as they are now."""
        with self._guard:
            current = self._current_slot()
            for key in [key for key, count in self._counts.items() if count.is_stored and key[0] < current]:
                del self._counts[key]
            return [self._told(key, count) for key, count in self._counts.items() if not count.is_stored]

    def note_stored(self, stored: Sequence[CountedDeliveries]) -> None:
        """Note that these totals are in the tables; those that have changed meanwhile are stored anew."""
        with self._guard:
            for told in stored:
                key = (int(told.slot.timestamp()), told.outcome, told.reason)
                count = self._counts[key]
                count.is_stored = self._told(key, count) == told

    def _told(self, key: tuple[int, DeliveryOutcome, str], count: _Count) -> CountedDeliveries:
        began, outcome, reason = key
        slot = datetime.fromtimestamp(began, UTC)
        return CountedDeliveries(
            slot, outcome, reason, self._bridge, count.deliveries, count.slowest_ms, count.subscription_id
        )

    def _current_slot(self) -> int:
        moment = int(self._clock())
        return moment - moment % SLOT_SECONDS
