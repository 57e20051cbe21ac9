"""The links in mails: to confirm an address, to connect again, to end the mails; signed, so that nobody can forge them.

A link is valid while its nonce is the stored one (:mod:`strava_pipeline.warehouse.mail.consent`) and its key is in
``STRAVA_TOKEN_KEYS``; a link that confirms is valid for a week at most. A link to connect again is valid for thirty
days, and while the grant is the one that has ended.

Links of an older form stay valid, since mails contain them: these begin with the id of their key, and end in a
signature of 22 characters.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from strava_pipeline.keyring import KeyPurpose, Keyring
from strava_pipeline.redaction import SecretPath
from strava_pipeline.warehouse.mail.consent import CONFIRM_WITHIN, Consent

OLD_SIGNATURE_BYTES = 16
# Any number of 18 digits fits into a BIGINT.
_WHOSE = r"(?:(?P<key_id>[A-Za-z0-9_-]{1,32})\.)?(?P<athlete_id>[0-9]{1,18})\.(?P<nonce>[A-Za-z0-9_-]{1,64})"
_SIGNATURE = r"(?P<signature>[A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{43})"
_CONFIRM = re.compile(rf"{_WHOSE}\.(?P<expires_at>[0-9]{{1,12}})\.{_SIGNATURE}")
_UNSUBSCRIBE = re.compile(rf"{_WHOSE}\.{_SIGNATURE}")
_RECONNECT = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Signature:
    """The signature in a link, not checked yet; ``key_id`` is set in links of the older form only."""

    key_id: str | None
    text: str

    def is_of(self, keyring: Keyring, purpose: KeyPurpose, *parts: str) -> bool:
        """Whether one of our keys has signed these parts for this purpose."""
        # Only the last part may contain a dot, so the joined text can be read in one way only.
        signed = ".".join(parts).encode()
        if self.key_id is None:
            return keyring.signer(purpose).verify_signature(signed, self.text)
        return self.key_id in keyring.keys and hmac.compare_digest(
            _old_signature(keyring, self.key_id, purpose, signed), self.text.encode()
        )


@dataclass(frozen=True)
class ConfirmLink:
    """What a link claims; :func:`is_for` says whether that is true. ``expires_at``: UTC, seconds since 1970."""

    athlete_id: int
    nonce: str
    expires_at: int
    signature: Signature

    @property
    def is_over(self) -> bool:
        return datetime.now(UTC).timestamp() >= self.expires_at


@dataclass(frozen=True)
class UnsubscribeLink:
    """A link with a valid signature; its nonce must still be compared with the stored one."""

    athlete_id: int
    nonce: str


def confirm_url(bridge_url: str, keyring: Keyring, consent: Consent) -> str:
    """Return the URL of the page on which the owner of an address allows mails."""
    expires_at = str(int((consent.given_at + CONFIRM_WITHIN).timestamp()))
    said = (str(consent.athlete_id), consent.nonce, expires_at)
    return f"{bridge_url}{SecretPath.CONFIRM}/{_signed(keyring, KeyPurpose.CONFIRM_LINK, said, consent.email)}"


def read_confirm_link(token: str) -> ConfirmLink | None:
    """Return what a link claims, unchecked: see :func:`is_for`. ``None`` if the token has another form."""
    found = _CONFIRM.fullmatch(token)
    if found is None:
        return None
    key_id, athlete_id, nonce, expires_at, signature = found.groups()
    return ConfirmLink(int(athlete_id), nonce, int(expires_at), Signature(key_id, signature))


def is_for(link: ConfirmLink, keyring: Keyring, consent: Consent) -> bool:
    """Whether a link was signed here, for this athlete's address as it is stored."""
    said = (str(link.athlete_id), link.nonce, str(link.expires_at))
    return (link.athlete_id, link.nonce) == (consent.athlete_id, consent.nonce) and link.signature.is_of(
        keyring, KeyPurpose.CONFIRM_LINK, *said, consent.email
    )


def unsubscribe_url(bridge_url: str, keyring: Keyring, consent: Consent) -> str:
    """Return the URL of the page, at the bridge's public address, on which an athlete ends the mails."""
    said = (str(consent.athlete_id), consent.unsubscribe_nonce)
    return f"{bridge_url}{SecretPath.UNSUBSCRIBE}/{_signed(keyring, KeyPurpose.UNSUBSCRIBE_LINK, said)}"


def read_unsubscribe_link(token: str, keyring: Keyring) -> UnsubscribeLink | None:
    """Return the athlete and nonce of a link; ``None`` if it is forged, or signed with a key that is not configured."""
    found = _UNSUBSCRIBE.fullmatch(token)
    if found is None:
        return None
    key_id, athlete_id, nonce, signature = found.groups()
    if not Signature(key_id, signature).is_of(keyring, KeyPurpose.UNSUBSCRIBE_LINK, athlete_id, nonce):
        return None
    return UnsubscribeLink(int(athlete_id), nonce)


@dataclass(frozen=True)
class ReconnectLink:
    """A link with a valid signature: ``generation`` of the grant that ended, ``expires_at`` UTC, seconds since 1970."""

    athlete_id: int
    generation: int
    expires_at: int

    @property
    def is_over(self) -> bool:
        return datetime.now(UTC).timestamp() >= self.expires_at


def reconnect_url(bridge_url: str, keyring: Keyring, link: ReconnectLink) -> str:
    """Return the URL at which an athlete whose grant has ended connects again."""
    said = (str(link.athlete_id), str(link.generation), str(link.expires_at))
    return f"{bridge_url}{SecretPath.RECONNECT}/{_signed(keyring, KeyPurpose.RECONNECT_LINK, said)}"


def read_reconnect_link(token: str, keyring: Keyring) -> ReconnectLink | None:
    """Return what a link says; ``None`` if it is forged, or signed with a key that is not configured."""
    found = _RECONNECT.fullmatch(token)
    if found is None:
        return None
    *said, signature = found.groups()
    if not Signature(None, signature).is_of(keyring, KeyPurpose.RECONNECT_LINK, *said):
        return None
    return ReconnectLink(*map(int, said))


def mailbox_hash(keyring: Keyring, email: str) -> str:
    """Return a keyed hash of an address (hex), which reveals nothing of it.

    It is equal for all spellings that most mail servers deliver to one mailbox.
    """
    local, _, domain = email.casefold().rpartition("@")
    mailbox = f"{local.partition('+')[0].replace('.', '')}@{domain}"
    return hmac.digest(keyring.derive_key(KeyPurpose.MAILBOX), mailbox.encode(), hashlib.sha256).hex()


def _signed(keyring: Keyring, purpose: KeyPurpose, said: tuple[str, ...], *unsaid: str) -> str:
    signature = keyring.signer(purpose).get_signature(".".join((*said, *unsaid)))
    return ".".join((*said, signature.decode()))


def _old_signature(keyring: Keyring, key_id: str, purpose: KeyPurpose, signed: bytes) -> bytes:
    key = Keyring({key_id: keyring.keys[key_id]}).derive_key(purpose)
    mac = hmac.digest(key, signed, hashlib.sha256)[:OLD_SIGNATURE_BYTES]
    return base64.urlsafe_b64encode(mac).rstrip(b"=")
