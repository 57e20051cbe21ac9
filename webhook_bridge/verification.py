"""Verifies that Strava signed a delivery, by ``X-Strava-Signature: t=<unix s>,v1=<hex>``; pure functions.

The signature is HMAC-SHA256 over ``"<t>." + raw body``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from http import HTTPStatus

from strava_pipeline.errors import WebhookRejected

TOLERANCE_SECONDS = 300
# Only ASCII digits: int() would also take signs, blanks, underscores and digits of other scripts.
_HEADER = re.compile(rb"t=([0-9]{1,11}),v1=([0-9a-f]{64})", re.ASCII)


def verify_signature(header: str | None, body: bytes, secrets: Sequence[bytes], now: float) -> None:
    """Return if one of the secrets signed this body at most 300 s from ``now`` (epoch s).

    ``WebhookRejected`` otherwise, with the reason for our log: ``signature_missing``, ``signature_malformed``,
    ``signature_expired`` or ``signature_wrong``. The sender gets a 401 without the reason.
    """
    if header is None:
        raise WebhookRejected("signature_missing", status=HTTPStatus.UNAUTHORIZED)
    match = _HEADER.fullmatch(header.encode("utf-8", "replace"))
    if match is None:
        raise WebhookRejected("signature_malformed", status=HTTPStatus.UNAUTHORIZED)
    timestamp, claimed = match.group(1), bytes.fromhex(match.group(2).decode())
    # Every secret is tried without stopping early, so that the time taken tells nothing.
    fits = [hmac.compare_digest(_mac(secret, timestamp, body), claimed) for secret in secrets]
    if not any(fits):
        raise WebhookRejected("signature_wrong", status=HTTPStatus.UNAUTHORIZED)
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise WebhookRejected("signature_expired", status=HTTPStatus.UNAUTHORIZED)


def _mac(secret: bytes, timestamp: bytes, body: bytes) -> bytes:
    # Not hmac.digest(), which releases the interpreter's lock meanwhile, and then waits to get it back.
    return hmac.new(secret, timestamp + b"." + body, "sha256").digest()
