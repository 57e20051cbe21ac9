"""Codes and tokens: single-use codes, access tokens that end, refresh tokens that rotate."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

CODE_SECONDS = 600
# With more than this left, a refresh gives the same access token again.
STILL_GOOD_SECONDS = 3600


@dataclass
class Grant:
    """What an athlete has allowed, and the tokens that carry it."""

    athlete_id: int
    scopes: tuple[str, ...]
    access_token: str
    refresh_token: str
    expires_at: float


@dataclass
class Grants:
    """All codes and grants of one app."""

    token_seconds: int
    _codes: dict[str, tuple[int, tuple[str, ...], float]] = field(default_factory=dict)
    _by_athlete: dict[int, Grant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_code(self, athlete_id: int, scopes: tuple[str, ...]) -> str:
        """A code that can be exchanged once."""
        code = secrets.token_hex(20)
        with self._lock:
            self._codes[code] = (athlete_id, scopes, time.time() + CODE_SECONDS)
        return code

    def exchange(self, code: str) -> Grant | None:
        """The grant behind a code, with fresh tokens; ``None`` if the code is unknown, used or too old."""
        with self._lock:
            athlete_id, scopes, ends = self._codes.pop(code, (0, (), 0.0))
            if ends < time.time():
                return None
            known = self._by_athlete.get(athlete_id)
            if known is not None and known.expires_at - time.time() > STILL_GOOD_SECONDS:
                known.scopes = scopes
                return known
            grant = self._issue(athlete_id, scopes)
            self._by_athlete[athlete_id] = grant
            return grant

    def refresh(self, refresh_token: str) -> Grant | None:
        """Fresh tokens, or the same ones while they are good; ``None`` for a dead refresh token."""
        with self._lock:
            grant = next((g for g in self._by_athlete.values() if g.refresh_token == refresh_token), None)
            if grant is None:
                return None
            if grant.expires_at - time.time() <= STILL_GOOD_SECONDS:
                grant = self._by_athlete[grant.athlete_id] = self._issue(grant.athlete_id, grant.scopes)
            return grant

    def of_token(self, access_token: str) -> Grant | None:
        """The grant that an access token carries, while it is valid."""
        with self._lock:
            grant = next((g for g in self._by_athlete.values() if g.access_token == access_token), None)
        return grant if grant is not None and grant.expires_at > time.time() else None

    def revoke(self, athlete_id: int) -> None:
        """End a grant."""
        with self._lock:
            self._by_athlete.pop(athlete_id, None)

    def expire(self, athlete_id: int | None = None) -> None:
        """End access tokens now: one athlete's, or all."""
        with self._lock:
            for grant in self._by_athlete.values():
                if athlete_id in (None, grant.athlete_id):
                    grant.expires_at = 0.0

    def _issue(self, athlete_id: int, scopes: tuple[str, ...]) -> Grant:
        return Grant(athlete_id, scopes, secrets.token_hex(20), secrets.token_hex(20), time.time() + self.token_seconds)
