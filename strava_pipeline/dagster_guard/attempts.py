"""How often a token may be tried."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

PER_MINUTE = 10
WINDOW_SECONDS = 60.0


class Attempts:
    """Counts tries of the last minute, whoever made them: behind a proxy all addresses are one.

    Nobody who is logged in, or has a link to sign in, needs one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()

    def take(self) -> bool:
        """Whether one more may be made now; it is counted then."""
        now = self._clock()
        while self._times and now - self._times[0] >= WINDOW_SECONDS:
            self._times.popleft()
        if len(self._times) >= PER_MINUTE:
            return False
        self._times.append(now)
        return True
