"""Spreads the work on activities over batches, at a pace that the operator sets; independent of the quota."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.monitor import RequestMonitor

log = get_logger(__name__)

# A pause goes in slices: after each, the caller checks that the athlete is still connected, and the run reports itself.
SLICE_SECONDS = 20.0


@dataclass
class Pace:
    """``size`` activities per batch, batches at least ``interval_s`` seconds apart, from start to start."""

    size: int
    interval_s: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    monitor: RequestMonitor = field(default_factory=RequestMonitor)
    _in_batch: int = 0
    _batch_began: float = 0.0

    @property
    def seconds_each(self) -> float:
        """The least time that an activity takes on average, in seconds."""
        return self.interval_s / self.size

    def wait(self, is_still_wanted: Callable[[], None] = lambda: None) -> None:
        """Sleep before an activity if a new batch must not start yet; call it before each activity.

        ``is_still_wanted`` is called after each slice of the sleep; an error that it raises ends the wait.
        """
        if self._in_batch == self.size:
            self._rest(is_still_wanted)
            self._in_batch = 0
        if self._in_batch == 0:
            self._batch_began = self.clock()
        self._in_batch += 1

    def _rest(self, is_still_wanted: Callable[[], None]) -> None:
        ends = self._batch_began + self.interval_s
        rest = ends - self.clock()
        if rest <= 0:
            return
        log.info("batch of %d activities done: the next one starts in %.0f s", self.size, rest)
        until = datetime.now(UTC) + timedelta(seconds=rest)
        while rest > 0:
            pause = min(rest, SLICE_SECONDS)
            self.monitor.wait_begins(f"pause after a batch of {self.size} activities", until, pause)
            self.sleep(pause)
            is_still_wanted()
            rest = ends - self.clock()
