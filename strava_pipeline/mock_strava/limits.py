"""Strava's rate limits, counted exactly: fixed windows, rejected calls count, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from werkzeug.datastructures import Headers

from strava_pipeline.mock_strava.config import MockConfig

OVERALL_FACTOR = 2
PREFIXES = {"overall": "X-RateLimit", "read": "X-ReadRateLimit"}
RATE_HEADERS = tuple(f"{prefix}-{what}" for prefix in PREFIXES.values() for what in ("Limit", "Usage"))
GARBLED = dict(zip(RATE_HEADERS, ("many", "1,", "-5,x", "99999999999999999999"), strict=True))


@dataclass(frozen=True)
class Counted:
    """One counted call: when (epoch s), which limit it exceeded (``read``, ``overall``), and the headers to send."""

    moment: float
    exceeded: str | None
    headers: dict[str, str]


@dataclass
class Limits:
    """The counters of one app; ``clock`` gives epoch s."""

    config: MockConfig
    clock: Callable[[], float] = time.time
    _used: dict[int, tuple[int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self) -> Counted:
        """Count one call in the windows of this moment."""
        with self._lock:
            moment = self.clock()
            short = self._raise(self.config.short_window_s, int(moment))
            long = self._raise(self.config.long_window_s, int(moment))
        read = (self.config.short_limit, self.config.long_limit)
        overall = (read[0] * OVERALL_FACTOR, read[1] * OVERALL_FACTOR)
        headers = {
            "X-RateLimit-Limit": f"{overall[0]},{overall[1]}",
            "X-RateLimit-Usage": f"{short},{long}",
            "X-ReadRateLimit-Limit": f"{read[0]},{read[1]}",
            "X-ReadRateLimit-Usage": f"{short},{long}",
        }
        # Every call counts as a read and overall, so that the smaller limit is always the one that is met.
        return Counted(moment, "read" if short > read[0] or long > read[1] else None, headers)

    def reset(self) -> None:
        """Forget what was used."""
        with self._lock:
            self._used.clear()

    def _raise(self, length_s: int, moment: int) -> int:
        start = moment // length_s * length_s
        known, used = self._used.get(length_s, (start, 0))
        used = used + 1 if known == start else 1
        self._used[length_s] = (start, used)
        return used


def exhausted(headers: Headers, which: str, window: str) -> None:
    """Make rate headers tell that a limit is used up: ``read`` or ``overall``, ``short`` or ``day``; else nothing."""
    limit, usage = (f"{PREFIXES[which]}-{what}" for what in ("Limit", "Usage"))
    if not window or limit not in headers:
        return
    place = ("short", "day").index(window)
    used, allowed = headers[usage].split(","), headers[limit].split(",")
    used[place] = str(int(allowed[place]) + 1)
    headers[usage] = ",".join(used)
