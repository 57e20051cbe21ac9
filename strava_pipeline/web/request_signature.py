"""Signatures by which our own processes prove to the guard in front of Dagster that a request is theirs.

The header's value is ``t=<unix s>,n=<nonce>,b=<SHA-256 of the body>,v1=<HMAC-SHA256>``. The HMAC covers time, nonce,
method, path and the body's hash; all parts but the time are in hex. The guard checks it before it reads the body. The
key is never sent: a program that listens on Dagster's port instead learns nothing that it could reuse. itsdangerous is
not used, since its tokens contain what they sign.
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
# The only requests that are signed. Paths are fixed, since a proxy in front of the guard may change the whole address.
METHOD, PATH = "POST", "/graphql"
# Reports the result of an asset check; the asset stands in the body.
CHECK_PATH = "/report_asset_check/"
SIGNED_PATHS = frozenset({PATH, CHECK_PATH})
NONCE_BYTES = 16
_VALUE = re.compile(
    r"t=(?P<at>[0-9]{1,12}),n=(?P<nonce>[0-9a-f]{32}),b=(?P<digest>[0-9a-f]{64}),v1=(?P<code>[0-9a-f]{64})", re.ASCII
)


@dataclass(frozen=True)
class Signature:
    """A signature made at ``at`` (unix s) for the body with the SHA-256 ``digest``; ``code`` is the HMAC.

    The nonce distinguishes equal requests within one second.
    """

    at: int
    nonce: str
    digest: str
    code: str

    @classmethod
    def of(cls, body: bytes, key: Secret, path: str = PATH) -> Self:
        """Return a new signature of ``body``, sent to ``path``, with the current time."""
        at, nonce, digest = int(time.time()), secrets.token_hex(NONCE_BYTES), _digest(body)
        return cls(at, nonce, digest, _code(at, nonce, digest, path, key))

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """Return the signature in a header's value; ``None`` if the value has another form."""
        match = _VALUE.fullmatch(value)
        return None if match is None else cls(int(match["at"]), match["nonce"], match["digest"], match["code"])

    def is_by(self, key: Secret, path: str = PATH) -> bool:
        """Whether the signature was made with ``key`` for ``path``, at any time and for any body."""
        return hmac.compare_digest(self.code, _code(self.at, self.nonce, self.digest, path, key))

    def is_of(self, body: bytes) -> bool:
        """Whether the signature was made for ``body``; check the key with :meth:`is_by`."""
        return hmac.compare_digest(self.digest, _digest(body))

    def __str__(self) -> str:
        return f"t={self.at},n={self.nonce},b={self.digest},v1={self.code}"


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _code(at: int, nonce: str, digest: str, path: str, key: Secret) -> str:
    signed = "\n".join((str(at), nonce, METHOD, path, digest))
    return hmac.new(key.reveal().encode(), signed.encode(), hashlib.sha256).hexdigest()
