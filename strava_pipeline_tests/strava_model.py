"""A model of Strava's rate limits, and a simulated time in which many workers meet it; the standard library only.

The model counts a call when it arrives, in fixed windows of its own clock, and counts what it rejects as well.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

EPOCH_2026 = 1_767_225_600.0


@dataclass
class StravaModel:
    """One app's limits; times are Strava's, in epoch seconds."""

    short_limit: int = 100
    long_limit: int = 1000
    short_s: int = 900
    long_s: int = 86_400
    used: Counter[tuple[int, int]] = field(default_factory=Counter)
    accepted: Counter[int] = field(default_factory=Counter)
    rejected: int = 0

    def arrive(self, at: float) -> tuple[bool, dict[str, str]]:
        """Count a call: whether it was accepted, and the headers of its answer."""
        short, long = self.window(at), int(at // self.long_s)
        self.used[self.short_s, short] += 1
        self.used[self.long_s, long] += 1
        usage = self.used[self.short_s, short], self.used[self.long_s, long]
        accepted = usage[0] <= self.short_limit and usage[1] <= self.long_limit
        if accepted:
            self.accepted[short] += 1
        else:
            self.rejected += 1
        return accepted, {
            "X-RateLimit-Limit": f"{2 * self.short_limit},{2 * self.long_limit}",
            "X-RateLimit-Usage": f"{usage[0]},{usage[1]}",
            "X-ReadRateLimit-Limit": f"{self.short_limit},{self.long_limit}",
            "X-ReadRateLimit-Usage": f"{usage[0]},{usage[1]}",
        }

    def window(self, at: float) -> int:
        """The number of the short window at this time."""
        return int(at // self.short_s)


class _Over(BaseException):
    """Unwinds a worker whose simulation has ended."""


class Simulation:
    """Simulated time: its workers are threads of which one runs at a time, until it sleeps.

    The order of events depends on nothing but what the workers do.
    """

    def __init__(self, start: float = EPOCH_2026) -> None:
        self.now = start
        self._queue: list[tuple[float, int, threading.Event]] = []
        self._pushed = 0
        self._baton = threading.Event()
        self._over = False
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._napping: threading.Event | None = None

    def start(self, work: Callable[[], object], at: float | None = None) -> None:
        """Let a worker begin, now or at a time to come."""
        gate = self._push(self.now if at is None else at)

        def live() -> None:
            gate.wait()
            try:
                if not self._over:
                    work()
            except _Over:
                pass
            except BaseException as error:  # noqa: BLE001  raised again by run()
                self._errors.append(error)
            self._baton.set()

        thread = threading.Thread(target=live, daemon=True)
        self._threads.append(thread)
        thread.start()

    def sleep(self, seconds: float) -> None:
        """Called by a worker: let the others go on until this time has passed."""
        self._wait_at(self._push(self.now + seconds))

    def nap(self, seconds: float) -> None:
        """Called by one worker: as :meth:`sleep`, but another worker's :meth:`wake` ends it."""
        self._napping = self._push(self.now + seconds)
        self._wait_at(self._napping)
        self._napping = None

    def wake(self) -> None:
        """End the nap of the worker that naps, if any; that worker goes on once the caller sleeps."""
        if self._napping is not None:
            self._push(self.now, self._napping)

    def run(self, until: float) -> None:
        """Let time pass until then, or until nobody is left; workers that still sleep are ended."""
        while self._queue and self._queue[0][0] <= until and not self._errors:
            at, _, gate = heapq.heappop(self._queue)
            if not gate.is_set():
                self.move_to(at)
                self._pass_to(gate)
        self._over = True
        while self._queue:
            _, _, gate = heapq.heappop(self._queue)
            if not gate.is_set():
                self._pass_to(gate)
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def move_to(self, moment: float) -> None:
        """Let time pass until then, while nobody is at work."""
        self.now = moment

    def _wait_at(self, gate: threading.Event) -> None:
        self._baton.set()
        gate.wait()
        if self._over:
            raise _Over

    def _pass_to(self, gate: threading.Event) -> None:
        self._baton.clear()
        gate.set()
        self._baton.wait()

    def _push(self, at: float, gate: threading.Event | None = None) -> threading.Event:
        gate = gate or threading.Event()
        self._pushed += 1
        heapq.heappush(self._queue, (at, self._pushed, gate))
        return gate
