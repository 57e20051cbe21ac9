"""The links in mails: one confirms an address, one ends the mails. Signed, so that nobody can make another's.

A link is good while its nonce is the one stored (:mod:`strava_pipeline.warehouse.mail.consent`) and its key is in
``STRAVA_TOKEN_KEYS``; one that confirms, for a week at most.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse.mail.consent import CONFIRM_WITHIN, Consent

CONFIRM_PATH = "/mail/confirm"
UNSUBSCRIBE_PATH = "/mail/unsubscribe"
CONFIRM, UNSUBSCRIBE = "confirm-address", "unsubscribe"
MAC_BYTES = 16
# Any number of 18 digits fits into a BIGINT.
_WHOSE = r"(?P<key_id>[A-Za-z0-9_-]{1,32})\.(?P<athlete_id>[0-9]{1,18})\.(?P<nonce>[A-Za-z0-9_-]{1,64})"
_MAC = r"(?P<mac>[A-Za-z0-9_-]{22})"
_CONFIRM = re.compile(rf"{_WHOSE}\.(?P<expires_at>[0-9]{{1,12}})\.{_MAC}")
_UNSUBSCRIBE = re.compile(rf"{_WHOSE}\.{_MAC}")


@dataclass(frozen=True)
class ConfirmLink:
    """What a link claims; :func:`is_for` tells whether that is true. ``expires_at``: UTC, in seconds since 1970."""

    key_id: str
    athlete_id: int
    nonce: str
    expires_at: int
    mac: str

    @property
    def is_over(self) -> bool:
        return datetime.now(UTC).timestamp() >= self.expires_at


@dataclass(frozen=True)
class UnsubscribeLink:
    """A link that was signed here; whether its nonce still counts, the table knows."""

    athlete_id: int
    nonce: str


def confirm_url(bridge_url: str, keyring: Keyring, consent: Consent) -> str:
    """The page on which the owner of an address says that mails may go there."""
    expires_at = str(int((consent.given_at + CONFIRM_WITHIN).timestamp()))
    said = (str(consent.athlete_id), consent.nonce, expires_at)
    return f"{bridge_url}{CONFIRM_PATH}/{_signed(keyring, CONFIRM, said, consent.email)}"


def read_confirm_link(token: str) -> ConfirmLink | None:
    """What stands in a link; ``None`` if it has not the form of one. Nothing of it is to be believed yet."""
    found = _CONFIRM.fullmatch(token)
    if found is None:
        return None
    key_id, athlete_id, nonce, expires_at, mac = found.groups()
    return ConfirmLink(key_id, int(athlete_id), nonce, int(expires_at), mac)


def is_for(link: ConfirmLink, keyring: Keyring, consent: Consent) -> bool:
    """Whether a link was signed here, for this athlete's address as it is stored."""
    said = (str(link.athlete_id), link.nonce, str(link.expires_at))
    return (
        (link.athlete_id, link.nonce) == (consent.athlete_id, consent.nonce)
        and link.key_id in keyring.keys
        and _is_mac(_mac(keyring, link.key_id, CONFIRM, (*said, consent.email)), link.mac)
    )


def unsubscribe_url(bridge_url: str, keyring: Keyring, consent: Consent) -> str:
    """The page, at the bridge's public address, on which an athlete ends the mails."""
    said = (str(consent.athlete_id), consent.unsubscribe_nonce)
    return f"{bridge_url}{UNSUBSCRIBE_PATH}/{_signed(keyring, UNSUBSCRIBE, said)}"


def read_unsubscribe_link(token: str, keyring: Keyring) -> UnsubscribeLink | None:
    """Whose link this is; ``None`` if it is forged, or signed with a key that is gone."""
    found = _UNSUBSCRIBE.fullmatch(token)
    if found is None:
        return None
    key_id, athlete_id, nonce, mac = found.groups()
    if key_id not in keyring.keys or not _is_mac(_mac(keyring, key_id, UNSUBSCRIBE, (athlete_id, nonce)), mac):
        return None
    return UnsubscribeLink(int(athlete_id), nonce)


def mailbox_hash(keyring: Keyring, email: str) -> str:
    """The same for all spellings of an address that most mail servers deliver to one mailbox; tells nothing of it."""
    local, _, domain = email.casefold().rpartition("@")
    mailbox = f"{local.partition('+')[0].replace('.', '')}@{domain}"
    return hmac.digest(keyring.derived_key("mailbox"), mailbox.encode(), hashlib.sha256).hex()


def _signed(keyring: Keyring, purpose: str, said: tuple[str, ...], *unsaid: str) -> str:
    key_id = keyring.writing_key_id
    return ".".join((key_id, *said, _mac(keyring, key_id, purpose, (*said, *unsaid))))


def _mac(keyring: Keyring, key_id: str, purpose: str, parts: tuple[str, ...]) -> str:
    key = Keyring({key_id: keyring.keys[key_id]}).derived_key(purpose)
    # No part but the last one holds a dot.
    mac = hmac.digest(key, ".".join(parts).encode(), hashlib.sha256)[:MAC_BYTES]
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _is_mac(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())
