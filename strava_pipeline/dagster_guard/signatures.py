"""The signatures of our own processes, each of which serves for one request."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

from strava_pipeline.dagster_guard.asked import Asked
from strava_pipeline.dagster_guard.bodies import Body
from strava_pipeline.dagster_guard.rules import Refusal
from strava_pipeline.secret import Secret
from strava_pipeline.web.request_signature import HEADER, METHOD, PATH, Signature

VALID_SECONDS = 60
BODY_CAP_BYTES = 1024 * 1024
BODY_SECONDS = 10.0
# Beyond it none passes until old ones go: one that is forgotten early would serve again. Each takes some 250 bytes.
MOST_KEPT = 20_000
NOT_OURS = "This request is not signed by a process of ours: is STRAVA_TOKEN_KEYS the same, and the time?"


class Signatures:
    """Those that were used lately, in this process alone; what was signed before it began does not count."""

    def __init__(self, key: Secret, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        # Somebody else may have listened here before.
        self._began = int(clock())
        # code -> when it was made (unix s), in the order of their use
        self._used: dict[str, int] = {}

    async def refusal(self, asked: Asked, body: Body) -> Refusal | None:
        """Why a request that comes with a signature is refused; ``None`` if it is one of ours, which is noted."""
        signature = Signature.parse(asked.header(HEADER.lower()) or "")
        if signature is None or asked.is_websocket or (asked.method, asked.target) != (METHOD, PATH):
            return Refusal(HTTPStatus.UNAUTHORIZED, NOT_OURS)
        # Used up before a byte is read: one signature is worth one body, whoever sends it.
        if not signature.is_by(self._key) or not self._use(signature):
            return Refusal(HTTPStatus.UNAUTHORIZED, NOT_OURS)
        content = await body.read(BODY_CAP_BYTES, BODY_SECONDS)
        if isinstance(content, Refusal):
            return content
        return None if signature.is_of(content) else Refusal(HTTPStatus.UNAUTHORIZED, NOT_OURS)

    def _use(self, signature: Signature) -> bool:
        """Whether it may be used now; it cannot be again."""
        now = self._clock()
        # Nobody is kept out for hours where the clock was put back since.
        self._began = min(self._began, int(now))
        self._forget_made_before(now - VALID_SECONDS)
        is_timely = signature.at >= self._began and abs(now - signature.at) <= VALID_SECONDS
        if not is_timely or signature.code in self._used or len(self._used) >= MOST_KEPT:
            return False
        self._used[signature.code] = signature.at
        return True

    def _forget_made_before(self, oldest: float) -> None:
        while self._used and self._used[first := next(iter(self._used))] < oldest:
            del self._used[first]
