"""What a run mostly waits for, of its short waits too, and which of its waits its log tells."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from strava_pipeline.strava.monitor import Wait

# A run waits for a reason as long as pauses took most of this time, s: requests that come one by one at the quota's
# pace have a pause before each.
LOOK_BACK_SECONDS = 30.0
# The log tells a wait that lasts longer than this, s, and the same reason again after so many.
LONG_SECONDS = 30.0
LOG_AGAIN_SECONDS = 600.0


@dataclass
class RecentWaits:
    """The pauses of one run within the last half minute; moments are monotonic, s."""

    _pauses: deque[tuple[float, float]] = field(default_factory=deque)
    _last: Wait | None = None

    def reason(self, waiting: Wait | None, moment: float) -> Wait | None:
        """Return what the run waits for: ``waiting``, or the last wait, without its end, if waiting takes the time."""
        if waiting is not None:
            self._pauses.append((moment, moment + waiting.pause_s))
            self._last = waiting
            return waiting
        while self._pauses and self._pauses[0][1] <= moment - LOOK_BACK_SECONDS:
            self._pauses.popleft()
        if self._last is None or sum(self._seconds(moment)) <= LOOK_BACK_SECONDS / 2:
            return None
        return replace(self._last, until=None, pause_s=0.0)

    def _seconds(self, moment: float) -> Iterator[float]:
        for began, ends in self._pauses:
            yield max(0.0, min(ends, moment) - max(began, moment - LOOK_BACK_SECONDS))


@dataclass
class WaitLog:
    """Decides which waits a run's log tells: long ones, each reason once in ten minutes; moments are monotonic, s."""

    _why: str | None = None
    _told_at: float = float("-inf")

    def line(self, waiting: Wait, moment: float) -> str | None:
        """Return the line to log as this wait begins, if any."""
        if waiting.until is not None and (waiting.until - datetime.now(UTC)).total_seconds() <= LONG_SECONDS:
            return None
        if waiting.why == self._why and moment - self._told_at < LOG_AGAIN_SECONDS:
            return None
        self._why, self._told_at = waiting.why, moment
        until = "" if waiting.until is None else f" until {waiting.until:%Y-%m-%d %H:%M:%S} UTC"
        return f"waiting{until}: {waiting.why}"
