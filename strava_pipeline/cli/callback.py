"""The bridge's callback URL: the local one, the public one that Strava gets, and a check that the latter answers."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import requests

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.proxies import through
from strava_pipeline.redaction import MASK, SecretPath
from strava_pipeline.settings import Settings
from strava_pipeline.strava.http import new_session

# Strava waits this long for the answer to its handshake.
HANDSHAKE_SECONDS = 2.0


class CallbackUnreachable(StravaPipelineError):
    """The bridge's public URL did not answer a handshake as Strava requires."""


class CallbackAway(CallbackUnreachable):
    """Nothing answered at the public URL, perhaps only for whoever asks from this machine."""


def local_callback(settings: Settings) -> str:
    """The callback URL of the bridge on this machine."""
    return f"http://127.0.0.1:{settings.bridge_port}{_path(settings)}"


def public_callback(settings: Settings) -> str:
    """The callback URL to give to Strava. It may end in the path token: show it only through :func:`shown`."""
    return f"{settings.required('bridge_public_url')}{_path(settings)}"


def shown(callback: str) -> str:
    """A URL fit for messages: without user, password and query, and with its path token masked."""
    try:
        parts = urlsplit(callback)
    except ValueError:
        return "an invalid URL"
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not parts.path.startswith(f"{SecretPath.WEBHOOK}/"):
        return f"{host}{parts.path}"
    return f"{host}{SecretPath.WEBHOOK}/{MASK}"


def check_handshake(settings: Settings) -> None:
    """Send a handshake to the public URL, as Strava will. ``CallbackUnreachable`` if its challenge is not echoed."""
    callback = public_callback(settings)
    challenge = secrets.token_hex(10)
    query = {
        "hub.mode": "subscribe",
        "hub.challenge": challenge,
        "hub.verify_token": settings.required("webhook_verify_token"),
    }
    try:
        with new_session(settings.ca_bundle) as session:
            answer = session.get(callback, params=query, timeout=HANDSHAKE_SECONDS, allow_redirects=False)
    except requests.exceptions.SSLError:
        told = f"STRAVA_BRIDGE_PUBLIC_URL: {shown(callback)} has no valid certificate{through(callback)}"
        remedy = "let the proxy in front get one from a public authority; Strava takes no other"
        raise CallbackUnreachable(f"{told}: {remedy}") from None
    except requests.RequestException as error:
        # The error's own text would show the URL with the verify token in its query.
        told = f"cannot be reached ({type(error).__name__}{through(callback)})"
        raise CallbackAway(_told(settings, told)) from None
    if answer.status_code != HTTPStatus.OK:
        raise CallbackUnreachable(_told(settings, f"answers {answer.status_code} to a handshake"))
    try:
        echo = answer.json()["hub.challenge"]
    except (ValueError, KeyError, TypeError):
        echo = None
    if echo != challenge:
        raise CallbackUnreachable(_told(settings, "does not echo the challenge of a handshake"))


def _told(settings: Settings, what: str) -> str:
    return (
        f"STRAVA_BRIDGE_PUBLIC_URL: {shown(public_callback(settings))} {what}: check that the bridge runs with the same"
        " settings, and that the proxy in front forwards this path to it"
    )


def _path(settings: Settings) -> str:
    token = settings.webhook_path_token.get_secret_value() if settings.webhook_path_token else ""
    return f"{SecretPath.WEBHOOK}/{quote(token, safe='')}" if token else SecretPath.WEBHOOK
