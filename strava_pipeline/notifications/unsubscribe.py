"""The link that ends an athlete's mails: signed, so that nobody ends another's; good for as long as its key is."""

from __future__ import annotations

import base64
import hashlib
import hmac

from strava_pipeline.keyring import Keyring

PURPOSE = "unsubscribe"
PATH = "/mail/unsubscribe"
MAC_BYTES = 16
# Digits of the largest id; Python refuses to read thousands of them.
LONGEST_ID = 19


def unsubscribe_url(bridge_url: str, keyring: Keyring, athlete_id: int) -> str:
    """The address of the page, at the bridge's public one, on which an athlete ends the mails."""
    key_id = keyring.writing_key_id
    return f"{bridge_url}{PATH}/{key_id}.{athlete_id}.{_mac(keyring, key_id, athlete_id)}"


def athlete_behind(token: str, keyring: Keyring) -> int | None:
    """Whose link this is; ``None`` if it is forged, or signed with a key that is gone."""
    key_id, _, rest = token.partition(".")
    number, _, given = rest.partition(".")
    if key_id not in keyring.keys or not (number.isascii() and number.isdecimal()) or len(number) > LONGEST_ID:
        return None
    expected = _mac(keyring, key_id, int(number))
    return int(number) if hmac.compare_digest(expected.encode(), given.encode()) else None


def _mac(keyring: Keyring, key_id: str, athlete_id: int) -> str:
    key = Keyring({key_id: keyring.keys[key_id]}).derived_key(PURPOSE)
    mac = hmac.digest(key, str(athlete_id).encode(), hashlib.sha256)[:MAC_BYTES]
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
