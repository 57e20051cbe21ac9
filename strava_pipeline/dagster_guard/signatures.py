"""Check of the signatures of our own processes. Each signature is valid for one request only."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

from strava_pipeline.dagster_guard.asked import RequestHead
from strava_pipeline.dagster_guard.bodies import Body
from strava_pipeline.dagster_guard.rules import Refusal
from strava_pipeline.secret import Secret
from strava_pipeline.web.request_signature import HEADER, METHOD, SIGNED_PATHS, Signature

VALID_SECONDS = 60
BODY_CAP_BYTES = 1024 * 1024
BODY_SECONDS = 10.0
# With so many used ones no signature is accepted until old ones expire: a signature that is forgotten too early could
# be used again. Each takes about 250 bytes.
MOST_KEPT = 20_000
NOT_SIGNED = (
    "This request has no valid signature of strava-pipeline: compare STRAVA_TOKEN_KEYS and clock of both processes."
)


class UsedSignatures:
    """The signatures that were used in this process lately. Signatures from before its start are refused."""

    def __init__(self, key: Secret, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        # Another program may have listened on this port before, and may have kept signatures.
        self._started_at = int(clock())
        # MAC of a used signature -> when it was made (unix s), in the order of use.
        self._used: dict[str, int] = {}

    async def check(self, request: RequestHead, body: Body) -> Refusal | None:
        """Return why a signed request is refused; ``None`` if its signature is valid, which then counts as used."""
        signature = Signature.parse(request.header(HEADER.lower()) or "")
        is_one_of_ours = request.method == METHOD and request.target in SIGNED_PATHS
        if signature is None or request.is_websocket or not is_one_of_ours:
            return Refusal(HTTPStatus.UNAUTHORIZED, NOT_SIGNED)
        # The signature is used up before the body is read, so that it allows one body only, from any sender.
        if not signature.is_by(self._key, request.target) or not self._use(signature):
            return Refusal(HTTPStatus.UNAUTHORIZED, NOT_SIGNED)
        content = await body.read(BODY_CAP_BYTES, BODY_SECONDS)
        if isinstance(content, Refusal):
            return content
        return None if signature.is_of(content) else Refusal(HTTPStatus.UNAUTHORIZED, NOT_SIGNED)

    def _use(self, signature: Signature) -> bool:
        """Use up a signature; returns whether it was valid until now."""
        now = self._clock()
        # If the clock was put back, new signatures must not be refused until it catches up.
        self._started_at = min(self._started_at, int(now))
        self._remove_older(now - VALID_SECONDS)
        is_timely = signature.at >= self._started_at and abs(now - signature.at) <= VALID_SECONDS
        if not is_timely or signature.code in self._used or len(self._used) >= MOST_KEPT:
            return False
        self._used[signature.code] = signature.at
        return True

    def _remove_older(self, oldest: float) -> None:
        while self._used and self._used[first := next(iter(self._used))] < oldest:
            del self._used[first]
