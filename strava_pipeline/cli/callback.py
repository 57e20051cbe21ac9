"""The address at which the bridge takes deliveries: here, and as Strava reaches it; and whether it answers there."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import requests

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.redaction import MASK, SecretPath
from strava_pipeline.settings import Settings
from strava_pipeline.strava.http import new_session

# Strava waits no longer for its handshake.
HANDSHAKE_SECONDS = 2.0


class CallbackUnreachable(StravaPipelineError):
    """The public address of the bridge did not answer a handshake as Strava would want it."""


def local_callback(settings: Settings) -> str:
    """Where the bridge of this machine takes deliveries."""
    return f"http://127.0.0.1:{settings.bridge_port}{_path(settings)}"


def public_callback(settings: Settings) -> str:
    """The address to give to Strava; it may end in the path token, so show it only through :func:`shown`."""
    return f"{settings.required('bridge_public_url')}{_path(settings)}"


def shown(callback: str) -> str:
    """An address without what nobody else may know."""
    try:
        parts = urlsplit(callback)
    except ValueError:
        return "an address that is none"
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not parts.path.startswith(f"{SecretPath.WEBHOOK}/"):
        return f"{host}{parts.path}"
    return f"{host}{SecretPath.WEBHOOK}/{MASK}"


def check_handshake(settings: Settings) -> None:
    """Ask the public address for an echo, as Strava will. ``CallbackUnreachable`` says what came instead."""
    callback = public_callback(settings)
    challenge = secrets.token_hex(10)
    query = {
        "hub.mode": "subscribe",
        "hub.challenge": challenge,
        "hub.verify_token": settings.required("webhook_verify_token"),
    }
    try:
        with new_session() as session:
            answer = session.get(callback, params=query, timeout=HANDSHAKE_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        # The error's own text holds the address with its query.
        raise _unreachable(settings, f"cannot be reached ({type(error).__name__})") from None
    if answer.status_code != HTTPStatus.OK:
        raise _unreachable(settings, f"answers {answer.status_code} to a handshake")
    try:
        echo = answer.json()["hub.challenge"]
    except (ValueError, KeyError, TypeError):
        echo = None
    if echo != challenge:
        raise _unreachable(settings, "does not echo the challenge of a handshake")


def _unreachable(settings: Settings, what: str) -> CallbackUnreachable:
    return CallbackUnreachable(
        f"STRAVA_BRIDGE_PUBLIC_URL: {shown(public_callback(settings))} {what}: is the bridge running, with the same"
        " settings, and does the proxy in front forward this path to it?"
    )


def _path(settings: Settings) -> str:
    token = settings.webhook_path_token.get_secret_value() if settings.webhook_path_token else ""
    return f"{SecretPath.WEBHOOK}/{quote(token, safe='')}" if token else SecretPath.WEBHOOK
