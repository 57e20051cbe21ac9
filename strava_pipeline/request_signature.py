"""By which the guard before Dagster knows that a request is one of our own processes'.

A header's value ``t=<unix s>,n=<nonce>,v1=<HMAC-SHA256>``, made of time, nonce, method, path and the body's SHA-256;
all but the time in hex. The key never leaves the process: whoever listens where Dagster should sees signatures of what
was asked anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Self

from strava_pipeline.secret import Secret

HEADER = "X-Strava-Pipeline-Signature"
# The only request that is signed; a proxy before the guard may add to the path what it takes away again.
METHOD, PATH = "POST", "/graphql"
NONCE_BYTES = 16
_VALUE = re.compile(r"t=(?P<at>[0-9]{1,12}),n=(?P<nonce>[0-9a-f]{32}),v1=(?P<code>[0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Signature:
    """A signature made at ``at`` (unix s). Its nonce tells two requests of one second apart that say the same."""

    at: int
    nonce: str
    code: str

    @classmethod
    def of(cls, body: bytes, key: Secret) -> Self:
        """A new one, of now."""
        at, nonce = int(time.time()), secrets.token_hex(NONCE_BYTES)
        return cls(at, nonce, _code(at, nonce, body, key))

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """What a header's value says; ``None`` if it is no signature."""
        match = _VALUE.fullmatch(value)
        return None if match is None else cls(int(match["at"]), match["nonce"], match["code"])

    def fits(self, body: bytes, key: Secret) -> bool:
        """Whether it was made of this body by this key, whenever that was."""
        return hmac.compare_digest(self.code, _code(self.at, self.nonce, body, key))

    def __str__(self) -> str:
        return f"t={self.at},n={self.nonce},v1={self.code}"


def _code(at: int, nonce: str, body: bytes, key: Secret) -> str:
    signed = "\n".join((str(at), nonce, METHOD, PATH, hashlib.sha256(body).hexdigest()))
    return hmac.new(key.reveal().encode(), signed.encode(), hashlib.sha256).hexdigest()
