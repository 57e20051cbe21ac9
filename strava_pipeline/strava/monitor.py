"""Tells whoever wants to know how many requests were sent, and what is being waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Waiting:
    """Why no request is sent, in words for a person, and until when, where that is known."""

    why: str
    until: datetime | None


def _nobody(_: Waiting | None) -> None:
    """Nobody wants to know."""


@dataclass
class Watch:
    """Hears of requests and waits of one process; ``tell`` is called with each wait and with ``None`` after each call.

    ``waited``: the time spent waiting.
    """

    requests: int = 0
    waited: timedelta = field(default_factory=timedelta)
    tell: Callable[[Waiting | None], None] = _nobody

    def booked(self) -> None:
        """A request may be sent now."""
        self.requests += 1

    def given_back(self) -> None:
        """That request was not sent after all."""
        self.requests -= 1

    def waits(self, why: str, until: datetime | None, pause_s: float) -> None:
        """The next ``pause_s`` seconds pass waiting; a long wait is told again and again."""
        self.waited += timedelta(seconds=pause_s)
        self.tell(Waiting(why, until))
