"""Counts one process's requests to Strava and reports what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Wait:
    """Why no request is sent, in words for a person, and until when, where that is known."""

    why: str
    until: datetime | None


def _ignore(_: Wait | None) -> None:
    """Report to nobody."""


@dataclass
class RequestMonitor:
    """Requests booked and time spent waiting by one process.

    ``on_change`` is called with each wait, and with ``None`` after each request.
    """

    requests: int = 0
    waited: timedelta = field(default_factory=timedelta)
    on_change: Callable[[Wait | None], None] = _ignore

    def request_booked(self) -> None:
        """Count a request that may be sent now."""
        self.requests += 1

    def request_released(self) -> None:
        """Take a booked request back: it was not sent."""
        self.requests -= 1

    def wait_begins(self, why: str, until: datetime | None, pause_s: float) -> None:
        """Report that the next ``pause_s`` seconds pass waiting; a long wait is reported again and again."""
        self.waited += timedelta(seconds=pause_s)
        self.on_change(Wait(why, until))
