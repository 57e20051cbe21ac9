"""A log of the calls that the mock received, and their totals."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from http import HTTPStatus

from strava_pipeline.mock_strava.shapes import JsonObject

KEPT = 200_000
TOKEN_PATH = "/oauth/token"  # noqa: S105  a path, no secret
_IDS = re.compile(r"(?<=/)[bg]?[0-9]+(?=/|$)")


@dataclass(frozen=True)
class Call:
    """One call; ``moment`` in epoch s; ``path`` without the query, which may hold secrets.

    ``counted``: whether the rate limits count it; ``over_limit``: whether it exceeded one; ``fault``: the kinds of its
    scripted faults; ``status``: ``None`` if the mock gave no answer.
    """

    moment: float
    method: str
    host: str
    path: str
    status: int | None
    athlete_id: int | None
    counted: bool
    over_limit: bool
    fault: str | None


@dataclass
class CallLog:
    """The latest calls, and counters of all calls."""

    _calls: deque[Call] = field(default_factory=lambda: deque(maxlen=KEPT))
    _counted: int = 0
    _endpoints: Counter[str] = field(default_factory=Counter)
    _statuses: Counter[int | None] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)
            self._endpoints[f"{call.method} {_IDS.sub('{id}', call.path)}"] += 1
            self._statuses[call.status] += 1
            self._counted += call.counted

    def body(self) -> JsonObject:
        """Return calls, oldest first, and totals; the total ``calls`` is of the calls that the rate limits count."""
        with self._lock:
            return {
                "totals": {
                    "calls": self._counted,
                    "endpoints": dict(self._endpoints),
                    "too_many_requests": self._statuses[HTTPStatus.TOO_MANY_REQUESTS],
                    "token_calls": self._endpoints[f"POST {TOKEN_PATH}"],
                },
                "calls": [asdict(call) for call in self._calls],
            }
