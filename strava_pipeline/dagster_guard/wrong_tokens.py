"""Limit for records of wrong tokens, so that guesses fill neither audit nor log.

It never refuses the right token. All requests come from this machine, from a browser or a proxy, so a login that is
closed to an attacker would be closed to the operator as well. The length of the token protects against guessing, as
:mod:`webhook_bridge.bad_requests` explains.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

PER_MINUTE = 10
WINDOW_SECONDS = 60.0


class WrongTokenLimit:
    """A rate limit for wrong tokens of all senders together: :data:`PER_MINUTE` records in any minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()

    def try_record(self) -> bool:
        """Count one more wrong token; returns whether it may be recorded, and counts it only then."""
        now = self._clock()
        while self._times and now - self._times[0] >= WINDOW_SECONDS:
            self._times.popleft()
        if len(self._times) >= PER_MINUTE:
            return False
        self._times.append(now)
        return True
