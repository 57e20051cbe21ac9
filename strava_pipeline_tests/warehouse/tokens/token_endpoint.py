"""Strava's token endpoint on this machine, in the three ways providers treat a refresh token that was used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline_tests.strava.loopback import Asked, Reply, reply

HOUR_S = 3600
INVALID = {
    "message": "Bad Request",
    "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}],
}


class Mode(StrEnum):
    """What becomes of a refresh token that was used."""

    SAME = "same"
    ROTATING = "rotating"
    # ... and using it once more ends the whole grant.
    REVOKING = "revoking"


@dataclass
class TokenEndpoint:
    """One athlete's grant; ``answer`` is what a :class:`Loopback` answers with."""

    mode: Mode
    lifetime_s: int = 6 * HOUR_S
    calls: int = 0
    generation: int = 1
    revoked: bool = False
    # Called with the number of the call once the tokens are issued, before the answer leaves.
    before_answering: Callable[[int], None] = lambda _: None
    answered_at: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def access_token(self) -> str:
        """The token that the API takes now."""
        return f"canary-access-{self.generation}"

    @property
    def refresh_token(self) -> str:
        return "canary-refresh-1" if self.mode is Mode.SAME else f"canary-refresh-{self.generation}"

    def grant(self, athlete_id: int) -> TokenGrant:
        """A new grant, as an exchange of a code gives it."""
        with self._lock:
            self.revoked = False
            self.generation += 1
            ends_at = datetime.fromtimestamp(int(time.time()) + self.lifetime_s, UTC)
            return TokenGrant(Secret(self.access_token), Secret(self.refresh_token), ends_at, {"id": athlete_id})

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.calls += 1
            call = self.calls
            answered = self._answer(asked.form["refresh_token"])
            issued = self.access_token
        self.before_answering(call)
        self.answered_at[issued] = time.monotonic()
        return answered

    def _answer(self, refresh_token: str) -> Reply:
        if self.revoked or refresh_token != self.refresh_token:
            self.revoked = self.revoked or self.mode is Mode.REVOKING
            return reply(INVALID, 400)
        self.generation += 1
        return reply(
            {
                "token_type": "Bearer",
                "access_token": self.access_token,
                "refresh_token": self.refresh_token,
                "expires_at": int(time.time()) + self.lifetime_s,
                "expires_in": self.lifetime_s,
            }
        )
