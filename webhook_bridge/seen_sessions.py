"""Remembers which of the operator's sessions the primary has called open, for the time when it is away.

A replica may not know yet that a session was ended. So a session counts there only if this bridge has seen it open at
the primary, and has not ended it since.
"""

from __future__ import annotations

import hashlib
from threading import Lock


class SeenSessions:
    """The open sessions that were seen, by a hash of their secrets; in memory, so that a new process knows none."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: set[str] = set()
        self._endings = 0

    def endings(self) -> int:
        """Return how often sessions were ended; to be asked before the primary is, for :meth:`note`."""
        return self._endings

    def note(self, secret: str, *, is_open: bool, endings: int) -> None:
        """Note the primary's answer, unless sessions were ended while it was asked: it may be out of date then."""
        with self._lock:
            if not is_open:
                self._seen.discard(_hash(secret))
            elif endings == self._endings:
                self._seen.add(_hash(secret))

    def has(self, secret: str) -> bool:
        """Whether the session was seen open, and not ended here since."""
        return _hash(secret) in self._seen

    def end(self, secret: str) -> None:
        """Forget a session, after its end at the primary."""
        with self._lock:
            self._endings += 1
            self._seen.discard(_hash(secret))

    def end_all(self) -> None:
        """Forget all sessions, after their end at the primary."""
        with self._lock:
            self._endings += 1
            self._seen.clear()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
