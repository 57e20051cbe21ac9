"""Encryption of stored tokens with AES-256-GCM.

An encrypted token is a text, its envelope: ``v1.<key id>.<nonce>.<ciphertext>``. Nonce and ciphertext are in URL-safe
base64. The associated data binds an envelope to one column, athlete and generation of the grant, so that an envelope
copied to another place cannot be decrypted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum, unique

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import Signer

from strava_pipeline.errors import ConfigurationError, TokenUnreadable
from strava_pipeline.secret import Secret

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = "v1"
CHECK_BYTES = 8


@unique
class KeyPurpose(StrEnum):
    """All purposes for which keys are derived. Two purposes with one name would share a key.

    A value cannot change: sessions, links in mails that were sent, and hashes in the tables depend on it.
    """

    SESSION = "session"
    CSRF = "csrf"
    OPERATOR = "operator"
    INVITE = "invite"
    DAGSTER = "dagster"
    MAILBOX = "mailbox"
    INVITE_LINK = "invite-link"
    CONFIRM_LINK = "confirm-address"
    UNSUBSCRIBE_LINK = "unsubscribe"
    RECONNECT_LINK = "reconnect"
    ERASURES = "erasures"
    UPLOAD_LINK = "upload-link"
    UPLOAD_TICKET = "upload-ticket"


_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class AssociatedData:
    """The associated data of an envelope: athlete's id, column of ``ops.users``, and generation of the grant."""

    athlete_id: int
    column: str
    generation: int

    def additional_data(self, key_id: str) -> bytes:
        # No part contains the separator, so two different places never give equal bytes.
        return (
            f"strava-pipeline|{VERSION}|{key_id}|ops.users|{self.column}|{self.athlete_id}|{self.generation}".encode()
        )


@dataclass(frozen=True)
class Keyring:
    """The configured keys by id, in their order: the first key encrypts, every key decrypts."""

    keys: dict[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Return the keys of a text ``id:base64,id:base64``.

        ``ConfigurationError`` names the faulty entry, and never contains a key.
        """
        keys: dict[str, bytes] = {}
        for position, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
            key_id, _, encoded = entry.partition(":")
            if not _KEY_ID.fullmatch(key_id) or not encoded:
                raise ConfigurationError(f"STRAVA_TOKEN_KEYS: entry {position} is not of the form id:base64")
            if key_id in keys:
                raise ConfigurationError(f"STRAVA_TOKEN_KEYS: key id {key_id} is given twice")
            keys[key_id] = _key_bytes(key_id, encoded)
        if not keys:
            raise ConfigurationError("STRAVA_TOKEN_KEYS holds no key: set it to id:base64")
        return cls(keys)

    @property
    def writing_key_id(self) -> str:
        return next(iter(self.keys))

    def check_value(self, key_id: str) -> str:
        """Return 16 hex digits that are equal for equal keys, and reveal nothing else of the key."""
        return hmac.digest(self.keys[key_id], b"key check", hashlib.sha256)[:CHECK_BYTES].hex()

    def derive_key(self, purpose: KeyPurpose) -> bytes:
        """Return a key of 32 bytes for another purpose than tokens: HKDF-SHA256 (RFC 5869) of the encrypting key."""
        info = f"strava-pipeline|{VERSION}|{purpose}".encode()
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self.keys[self.writing_key_id])

    def signer(self, purpose: KeyPurpose) -> Signer:
        """Return a signer for one purpose, such as links: it signs with the encrypting key, and accepts all keys."""
        oldest_first = reversed(self.keys.items())
        derived = [Keyring({key_id: key}).derive_key(purpose) for key_id, key in oldest_first]
        return Signer(derived, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha256)

    def encrypt(self, secret: Secret, place: AssociatedData) -> str:
        """Return an envelope of ``secret`` that can be decrypted only with this ``place``."""
        key_id = self.writing_key_id
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self.keys[key_id]).encrypt(nonce, secret.reveal().encode(), place.additional_data(key_id))
        return ".".join((VERSION, key_id, _encode(nonce), _encode(sealed)))

    def decrypt(self, envelope: str, place: AssociatedData) -> Secret:
        """Return the secret of an envelope; ``TokenUnreadable`` if the keys, the place or the text do not fit."""
        where = f"the {place.column} of athlete {place.athlete_id}"
        parts = envelope.split(".")
        if len(parts) != len(("version", "key id", "nonce", "ciphertext")) or parts[0] != VERSION:
            raise TokenUnreadable(f"{where} is not an envelope of this program: connect the athlete again")
        _, key_id, nonce_text, sealed_text = parts
        key = self.keys.get(key_id)
        if key is None:
            raise TokenUnreadable(f"{where} was written with key {key_id}: add this key to STRAVA_TOKEN_KEYS")
        try:
            nonce, sealed = _decode(nonce_text, NONCE_BYTES), _decode(sealed_text)
            return Secret(AESGCM(key).decrypt(nonce, sealed, place.additional_data(key_id)).decode())
        except (InvalidTag, binascii.Error, ValueError):
            raise TokenUnreadable(
                f"{where} cannot be decrypted with key {key_id}: the key or the row was changed;"
                " set the former key, or connect the athlete again"
            ) from None


def key_id_of(envelope: str) -> str:
    """Return the id of the key that encrypted an envelope; '' if the text is not an envelope."""
    parts = envelope.split(".")
    return parts[1] if len(parts) > 1 else ""


def generate_key() -> str:
    """Return a new random key with a random id, in the form of ``STRAVA_TOKEN_KEYS``."""
    return f"k{os.urandom(4).hex()}:{base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()}"


def _key_bytes(key_id: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"STRAVA_TOKEN_KEYS: key {key_id} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"STRAVA_TOKEN_KEYS: key {key_id} has {len(key)} bytes, AES-256 needs {KEY_BYTES}")
    return key


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str, length: int | None = None) -> bytes:
    """Decode URL-safe base64; ``binascii.Error`` for any other text, or another ``length`` in bytes."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if length is not None and len(data) != length:
        raise binascii.Error
    return data
