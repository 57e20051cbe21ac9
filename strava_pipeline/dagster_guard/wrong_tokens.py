"""How many wrong tokens are noted. The right one passes whatever came before: nobody here knows who guesses.

All come from this machine, from a browser on it or a proxy. A form that a guesser closed would be closed for the
operator, too; what keeps guessers out is the token's length, as :mod:`webhook_bridge.bad_requests` says.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

PER_MINUTE = 10
WINDOW_SECONDS = 60.0


class WrongTokens:
    """Those that were noted within the last minute, whoever sent them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()

    def may_note(self) -> bool:
        """Whether one more may be noted now; it is counted then."""
        now = self._clock()
        while self._times and now - self._times[0] >= WINDOW_SECONDS:
            self._times.popleft()
        if len(self._times) >= PER_MINUTE:
            return False
        self._times.append(now)
        return True
