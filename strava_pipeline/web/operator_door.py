"""Token, cookie and keys of the operator's login.

The bridge's page and Dagster's UI share one token, one cookie and one set of sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from urllib.parse import urlsplit

from strava_pipeline.keyring import KeyPurpose, Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings

COOKIE = "strava_pipeline_operator"
OPEN_WITHOUT_LOGIN = "STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN is on: no login protects the bridge's page and Dagster's UI"


def is_over_tls(settings: Settings) -> bool:
    """Whether browsers reach the bridge by https, according to its public URL."""
    return urlsplit(settings.bridge_public_url or "").scheme == "https"


def cookie_name(settings: Settings) -> str:
    """Return the name of the cookie with a session's secret; over https its prefix binds it to this host."""
    return f"__Host-{COOKIE}" if is_over_tls(settings) else COOKIE


def operator_token(settings: Settings) -> str | None:
    """Return the token that opens a session, or ``None``."""
    return None if settings.operator_token is None else settings.operator_token.get_secret_value()


def session_proof(settings: Settings) -> str:
    """Return the MAC that binds sessions to token and access settings: sessions end when one of these changes."""
    door = [
        operator_token(settings),
        settings.bridge_public_url,
        settings.trusted_proxies,
        settings.dangerously_open_without_login,
        settings.bridge_hosts,
        settings.dagster_hosts,
    ]
    return hmac.new(_key(settings, KeyPurpose.OPERATOR), json.dumps(door).encode(), hashlib.sha256).hexdigest()


def invite_proof(settings: Settings) -> str:
    """Return the MAC that binds invitations to the token: invitations end when the token changes."""
    token = operator_token(settings) or ""
    return hmac.new(_key(settings, KeyPurpose.INVITE), token.encode(), hashlib.sha256).hexdigest()


def dagster_signing_key(settings: Settings) -> Secret:
    """Return the key with which our own processes sign requests to Dagster, and the guard checks them."""
    return Secret(_key(settings, KeyPurpose.DAGSTER).hex())


def _key(settings: Settings, purpose: KeyPurpose) -> bytes:
    return Keyring.parse(settings.required("token_keys")).derive_key(purpose)
