"""Strava's rate limits, counted exactly: in fixed windows, rejected calls included."""

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
GARBLED_HEADERS = dict(zip(RATE_HEADERS, ("many", "1,", "-5,x", "99999999999999999999"), strict=True))


@dataclass(frozen=True)
class CountedCall:
    """A counted call: its time (epoch s), the limit that it exceeded (``read``), and the rate headers of its answer."""

    moment: float
    exceeded: str | None
    headers: dict[str, str]


@dataclass
class Limits:
    """The counters of one app; ``clock`` returns epoch s."""

    config: MockConfig
    clock: Callable[[], float] = time.time
    _used: dict[int, tuple[int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self) -> CountedCall:
        """Count one call in the current windows."""
        with self._lock:
            moment = self.clock()
            short = self._increment(self.config.short_window_s, int(moment))
            long = self._increment(self.config.long_window_s, int(moment))
        read = (self.config.short_limit, self.config.long_limit)
        overall = (read[0] * OVERALL_FACTOR, read[1] * OVERALL_FACTOR)
        headers = {
            "X-RateLimit-Limit": f"{overall[0]},{overall[1]}",
            "X-RateLimit-Usage": f"{short},{long}",
            "X-ReadRateLimit-Limit": f"{read[0]},{read[1]}",
            "X-ReadRateLimit-Usage": f"{short},{long}",
        }
        # Each call counts as a read and overall, so the smaller limit is always exceeded first.
        return CountedCall(moment, "read" if short > read[0] or long > read[1] else None, headers)

    def reset(self) -> None:
        """Reset all counters."""
        with self._lock:
            self._used.clear()

    def _increment(self, length_s: int, moment: int) -> int:
        start = moment // length_s * length_s
        known, used = self._used.get(length_s, (start, 0))
        used = used + 1 if known == start else 1
        self._used[length_s] = (start, used)
        return used


def mark_exhausted(headers: Headers, which: str, window: str) -> None:
    """Change rate headers to show a limit as used up: ``read`` or ``overall``, in the window ``short`` or ``day``.

    Does nothing without a window or without rate headers.
    """
    limit, usage = (f"{PREFIXES[which]}-{what}" for what in ("Limit", "Usage"))
    if not window or limit not in headers:
        return
    place = ("short", "day").index(window)
    used, allowed = headers[usage].split(","), headers[limit].split(",")
    used[place] = str(int(allowed[place]) + 1)
    headers[usage] = ",".join(used)
