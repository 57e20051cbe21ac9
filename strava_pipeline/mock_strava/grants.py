"""Grants of the mock: single-use codes, access tokens that expire, refresh tokens that rotate."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from strava_pipeline.mock_strava.refusals import bad_request, token_invalid

CODE_SECONDS = 600
# A refresh returns the same access token again if it is valid for longer than this.
REUSE_SECONDS = 3600
SCOPES = (
    "read",
    "read_all",
    "profile:read_all",
    "profile:write",
    "activity:read",
    "activity:read_all",
    "activity:write",
)
ALL_READING = ("read", "activity:read_all", "profile:read_all")


class Rotation(StrEnum):
    """The effect of a refresh on the refresh token."""

    SAME = "same"
    ROTATE = "rotate"
    # A refresh token that is used twice may have been stolen.
    REVOKE_ON_REUSE = "revoke_on_reuse"


@dataclass
class Grant:
    """An athlete's permission, with its scopes and tokens; ``expires_at`` (epoch s) is the access token's."""

    athlete_id: int
    scopes: tuple[str, ...]
    access_token: str
    refresh_token: str
    expires_at: float

    @property
    def sees_private(self) -> bool:
        return "activity:read_all" in self.scopes

    @property
    def sees_activities(self) -> bool:
        return self.sees_private or "activity:read" in self.scopes


@dataclass(frozen=True)
class _Code:
    athlete_id: int
    scopes: tuple[str, ...]
    ends_at: float


@dataclass
class Grants:
    """All codes and grants of one app; ``clock`` returns epoch s."""

    token_seconds: int
    clock: Callable[[], float] = time.time
    rotation: Rotation = Rotation.ROTATE
    _codes: dict[str, _Code] = field(default_factory=dict)
    _by_athlete: dict[int, Grant] = field(default_factory=dict)
    # An access token that a refresh has replaced stays valid until it expires.
    _replaced: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    # Refresh tokens that a rotation has replaced, with their athletes.
    _replaced_refresh_tokens: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_code(self, athlete_id: int, scopes: tuple[str, ...], lifetime_s: float = CODE_SECONDS) -> str:
        """Create a code that can be exchanged once within ``lifetime_s`` seconds."""
        code = secrets.token_hex(20)
        with self._lock:
            self._codes[code] = _Code(athlete_id, scopes, self.clock() + lifetime_s)
        return code

    def new_lasting_code(self, athlete_id: int) -> str:
        """Create a code with all reading scopes that is valid until it is used."""
        return self.new_code(athlete_id, ALL_READING, float("inf"))

    def exchange(self, code: str) -> Grant:
        """Exchange a code for a grant; ``Refused`` if the code is unknown, used or expired."""
        with self._lock:
            known = self._codes.pop(code, None)
            if known is None:
                raise bad_request("RequestToken", "code", "invalid")
            if known.ends_at <= self.clock():
                raise bad_request("AuthorizationCode", "", "expired")
            grant = self._by_athlete.get(known.athlete_id)
            if grant is None:
                grant = self._by_athlete[known.athlete_id] = self._issue(known.athlete_id, known.scopes)
            grant.scopes = known.scopes
            return self._renew_tokens(grant)

    def refresh(self, refresh_token: str) -> Grant:
        """Return the grant with new tokens, or with the old ones if they are valid for long enough.

        ``Refused`` for an unknown or replaced refresh token.
        """
        with self._lock:
            grant = next((g for g in self._by_athlete.values() if g.refresh_token == refresh_token), None)
            if grant is None:
                if self.rotation is Rotation.REVOKE_ON_REUSE and refresh_token in self._replaced_refresh_tokens:
                    self._end(self._replaced_refresh_tokens[refresh_token])
                raise bad_request("RefreshToken", "refresh_token", "invalid")
            return self._renew_tokens(grant)

    def find_by_access_token(self, access_token: str) -> Grant:
        """Return the grant of an access token; ``Refused`` if the token is unknown or expired."""
        with self._lock:
            grant = next((g for g in self._by_athlete.values() if g.access_token == access_token), None)
            grant, ends_at = (grant, grant.expires_at) if grant else self._replaced.get(access_token, (None, 0.0))
            if grant is None or ends_at <= self.clock():
                raise token_invalid()
            return grant

    def find_by_any_token(self, given: str) -> Grant | None:
        """Return the grant of an access or refresh token, also of an expired one; ``None`` if it is unknown."""
        with self._lock:
            return next((g for g in self._by_athlete.values() if given in (g.access_token, g.refresh_token)), None)

    def revoke(self, athlete_id: int) -> None:
        """End an athlete's grant."""
        with self._lock:
            self._end(athlete_id)

    def expire(self, athlete_id: int | None = None) -> None:
        """Let access tokens expire now: those of one athlete, or all."""
        with self._lock:
            for grant in self._by_athlete.values():
                if athlete_id in (None, grant.athlete_id):
                    grant.expires_at = 0.0
            self._replaced = {
                token: kept for token, kept in self._replaced.items() if athlete_id not in (None, kept[0].athlete_id)
            }

    def _end(self, athlete_id: int) -> None:
        self._by_athlete.pop(athlete_id, None)
        self._replaced = {token: kept for token, kept in self._replaced.items() if kept[0].athlete_id != athlete_id}

    def _renew_tokens(self, grant: Grant) -> Grant:
        if grant.expires_at - self.clock() > REUSE_SECONDS:
            return grant
        if grant.expires_at > self.clock():
            self._replaced[grant.access_token] = (grant, grant.expires_at)
        fresh = self._by_athlete[grant.athlete_id] = self._issue(grant.athlete_id, grant.scopes)
        if self.rotation is Rotation.SAME:
            fresh.refresh_token = grant.refresh_token
        else:
            self._replaced_refresh_tokens[grant.refresh_token] = grant.athlete_id
        return fresh

    def _issue(self, athlete_id: int, scopes: tuple[str, ...]) -> Grant:
        expires_at = self.clock() + self.token_seconds
        return Grant(athlete_id, scopes, secrets.token_hex(20), secrets.token_hex(20), expires_at)
