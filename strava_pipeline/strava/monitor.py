"""Counts the requests of one process to Strava, and reports why the process waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Wait:
    """Why no request is sent, in words for a person, and until when (``None`` if unknown).

    ``pause_s``: the length of the pause that begins now, s; a longer wait has several.
    """

    why: str
    until: datetime | None
    pause_s: float = 0.0


def _ignore(_: Wait | None) -> None:
    """Ignore a report."""


@dataclass
class RequestMonitor:
    """The requests that one process booked, and the time that it waited.

    ``on_change`` is called with each wait, and with ``None`` before an import works on its next activity.
    """

    requests: int = 0
    waited: timedelta = field(default_factory=timedelta)
    on_change: Callable[[Wait | None], None] = _ignore

    def request_booked(self) -> None:
        """Count a request that may be sent now."""
        self.requests += 1

    def request_released(self) -> None:
        """Uncount a booked request that was not sent."""
        self.requests -= 1

    def wait_begins(self, why: str, until: datetime | None, pause_s: float) -> None:
        """Report a wait of ``pause_s`` seconds that begins now; a longer wait is reported as several of these."""
        self.waited += timedelta(seconds=pause_s)
        self.on_change(Wait(why, until, pause_s))
