"""The signed form of links by which an athlete uploads: a link that was made up is refused without a query."""

from __future__ import annotations

from itsdangerous import BadSignature

from strava_pipeline.keyring import KeyPurpose, Keyring


def sign_upload_link(keyring: Keyring, secret: str) -> str:
    """Return the last part of a link's address for its secret."""
    return keyring.signer(KeyPurpose.UPLOAD_LINK).sign(secret).decode()


def read_upload_link(keyring: Keyring, given: str) -> str | None:
    """Return the secret of a link; ``None`` if we have not signed it."""
    try:
        return keyring.signer(KeyPurpose.UPLOAD_LINK).unsign(given.encode("utf-8", "surrogatepass")).decode()
    except (BadSignature, UnicodeDecodeError):
        return None
