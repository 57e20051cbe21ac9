"""What opens the operator's doors, the bridge's page and Dagster's UI: one token, one cookie, one set of sessions."""

from __future__ import annotations

import hashlib
import hmac
import json
from urllib.parse import urlsplit

from strava_pipeline.keyring import Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings

COOKIE = "strava_pipeline_operator"
STANDS_OPEN = (
    "STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN is on: whoever reaches the bridge's page or Dagster's UI is the operator"
)


def is_over_tls(settings: Settings) -> bool:
    """Whether browsers reach the bridge by https."""
    return urlsplit(settings.bridge_public_url or "").scheme == "https"


def cookie_name(settings: Settings) -> str:
    """The cookie that holds a session's secret; over https it is bound to this very host."""
    return f"__Host-{COOKIE}" if is_over_tls(settings) else COOKIE


def operator_token(settings: Settings) -> str | None:
    """The token that opens a session; ``None`` if none is set."""
    return None if settings.operator_token is None else settings.operator_token.get_secret_value()


def proof_of(settings: Settings) -> str:
    """What sessions are bound to: the token and the settings of the door. Tells nothing of them."""
    door = [
        operator_token(settings),
        settings.bridge_public_url,
        settings.trusted_proxies,
        settings.dangerously_open_without_login,
        settings.bridge_hosts,
        settings.dagster_hosts,
    ]
    return hmac.new(_key(settings, "operator"), json.dumps(door).encode(), hashlib.sha256).hexdigest()


def invite_proof(settings: Settings) -> str:
    """What invitations are bound to: the token alone, so that a new one ends them. Tells nothing of it."""
    token = operator_token(settings) or ""
    return hmac.new(_key(settings, "invite"), token.encode(), hashlib.sha256).hexdigest()


def dagster_key(settings: Settings) -> Secret:
    """By which our own processes sign what they ask Dagster, and the guard before it knows them."""
    return Secret(_key(settings, "dagster").hex())


def _key(settings: Settings, purpose: str) -> bytes:
    return Keyring.parse(settings.required("token_keys")).derive_key(purpose)
