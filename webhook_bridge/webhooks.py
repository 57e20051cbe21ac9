"""``GET|POST /webhooks/strava``: Strava's handshake and its deliveries."""

from __future__ import annotations

import hmac
import json
import time
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from strava_pipeline.errors import WebhookRejected
from strava_pipeline.redaction import SecretPath, get_logger
from strava_pipeline.settings import Settings, SignatureMode
from strava_pipeline.warehouse.inbox.events import Stored
from webhook_bridge.current import current_bridge
from webhook_bridge.event_body import parse_event
from webhook_bridge.verification import verify_signature

log = get_logger(__name__)

BODY_CAP_BYTES = 16 * 1024
LONGEST_CHALLENGE = 255

webhooks = Blueprint("webhooks", __name__)


@webhooks.get(SecretPath.WEBHOOK, defaults={"path_token": ""})
@webhooks.get(f"{SecretPath.WEBHOOK}/<path:path_token>")
def handshake(path_token: str) -> Response:
    """Echo Strava's challenge if it knows our verify token."""
    settings = current_bridge().settings
    _check_path(settings, path_token)
    query = request.args
    once = all(len(query.getlist(f"hub.{name}")) == 1 for name in ("mode", "challenge", "verify_token"))
    expected = settings.required("webhook_verify_token")
    if (
        not once
        or query["hub.mode"] != "subscribe"
        or not hmac.compare_digest(query["hub.verify_token"].encode(), expected.encode())
        or len(query["hub.challenge"]) > LONGEST_CHALLENGE
    ):
        raise WebhookRejected("handshake", status=HTTPStatus.FORBIDDEN)
    return _json({"hub.challenge": query["hub.challenge"]})


@webhooks.post(SecretPath.WEBHOOK, defaults={"path_token": ""})
@webhooks.post(f"{SecretPath.WEBHOOK}/<path:path_token>")
def deliver(path_token: str) -> Response:
    """Store an event and answer 200 once it is committed; cheap checks come first.

    ``DatabaseUnavailable`` if it is not committed in time: then :mod:`webhook_bridge.app` answers 503.
    """
    bridge = current_bridge()
    settings = bridge.settings
    _check_path(settings, path_token)
    body = _capped_body()
    signed = _check_signature(settings, body)
    event = parse_event(body, signed=signed)
    expected = settings.webhook_subscription_id
    if expected is not None and event.subscription_id != expected:
        raise WebhookRejected("subscription", status=HTTPStatus.FORBIDDEN)
    stored = bridge.intake.store(event)
    log.info(
        "%s %s %d of athlete %d: %s",
        event.aspect_type,
        event.object_type,
        event.object_id,
        event.owner_id,
        stored,
    )
    if stored is Stored.NEW:
        bridge.wake_dispatcher()
    return _json({"status": stored.value})


def _check_path(settings: Settings, path_token: str) -> None:
    expected = settings.webhook_path_token.get_secret_value() if settings.webhook_path_token else ""
    if not hmac.compare_digest(path_token.encode(), expected.encode()):
        # The same answer as for a path that does not exist: a guesser learns nothing.
        raise NotFound


def _capped_body() -> bytes:
    """The raw body. ``WebhookRejected`` if it is larger than allowed; at most one byte more is read."""
    if (request.content_length or 0) > BODY_CAP_BYTES:
        raise WebhookRejected("too_large", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = request.stream.read(BODY_CAP_BYTES + 1)
    if len(body) > BODY_CAP_BYTES:
        raise WebhookRejected("too_large", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(body)


def _check_signature(settings: Settings, body: bytes) -> bool:
    """Whether the body is signed; False if it need not be. ``WebhookRejected`` if the signature is wrong or missing."""
    header = request.headers.get("X-Strava-Signature")
    mode = settings.webhook_signature
    if mode is SignatureMode.OFF or (mode is SignatureMode.OPTIONAL and header is None):
        return False
    verify_signature(header, body, settings.signing_secrets(), time.time())
    return True


def _json(body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), mimetype="application/json")
