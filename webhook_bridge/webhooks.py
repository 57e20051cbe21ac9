"""``GET|POST /webhooks/strava``: Strava's handshake and its deliveries."""

from __future__ import annotations

import hmac
import json
import time
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, NotFound

from strava_pipeline.errors import DatabaseUnavailable, WebhookRejected
from strava_pipeline.local.serving import COMPLETE_AT
from strava_pipeline.log_context import add_log_ids
from strava_pipeline.redaction import SecretPath, get_logger
from strava_pipeline.settings import Settings, SignatureMode
from strava_pipeline.warehouse.inbox.events import Stored
from strava_pipeline.warehouse.states import DeliveryOutcome, RejectReason
from webhook_bridge.bad_requests import is_over_limit
from webhook_bridge.counters import Answered
from webhook_bridge.current import Bridge, current_bridge
from webhook_bridge.event_body import parse_event
from webhook_bridge.verification import verify_signature

log = get_logger(__name__)

BODY_CAP_BYTES = 16 * 1024
LONGEST_CHALLENGE = 255

OUTCOMES = {
    Stored.NEW: DeliveryOutcome.STORED,
    Stored.DUPLICATE: DeliveryOutcome.DUPLICATE,
    Stored.UNKNOWN_OWNER: DeliveryOutcome.STRANGER,
}
webhooks = Blueprint("webhooks", __name__)


class ForeignSubscription(WebhookRejected):
    """A delivery is of another subscription than ours."""

    def __init__(self, subscription_id: int) -> None:
        super().__init__(RejectReason.SUBSCRIPTION, status=HTTPStatus.FORBIDDEN)
        self.subscription_id = subscription_id


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
    """Store an event and answer 200 once it is committed.

    ``DatabaseUnavailable`` if it is not committed in time: then :mod:`webhook_bridge.app` answers 503.
    """
    bridge = current_bridge()
    began_at = request.environ.get(COMPLETE_AT) or time.monotonic()
    bridge.counters.received()
    # Counted here, not in hooks of the app: what these cost each delivery would be felt.
    try:
        stored = _store(bridge, path_token)
    except Exception as error:
        bridge.counters.answered(_rejected(error, time.monotonic() - began_at))
        raise
    bridge.counters.answered(Answered(OUTCOMES[stored], time.monotonic() - began_at))
    return _json({"status": stored.value})


def _store(bridge: Bridge, path_token: str) -> Stored:
    """Check the delivery, cheap checks first, and store its event."""
    settings = bridge.settings
    _check_path(settings, path_token)
    body = _capped_body()
    signed = _check_signature(settings, body)
    event = parse_event(body, signed=signed)
    add_log_ids(athlete_id=event.owner_id, activity_id=event.activity_id)
    expected = settings.webhook_subscription_id
    if expected is not None and event.subscription_id != expected:
        if not is_over_limit():
            log.warning("a delivery is of subscription %d, ours is %d", event.subscription_id, expected)
        raise ForeignSubscription(event.subscription_id)
    stored = bridge.intake.store(event)
    add_log_ids(event_id=stored.event_id)
    log.info(
        "%s %s %d of athlete %d: %s",
        event.aspect_type,
        event.object_type,
        event.object_id,
        event.owner_id,
        stored.outcome,
    )
    if stored.outcome is Stored.NEW:
        bridge.wake_dispatcher()
    return stored.outcome


def _rejected(error: Exception, seconds: float) -> Answered:
    """What is counted of a delivery that met an error."""
    subscription_id = error.subscription_id if isinstance(error, ForeignSubscription) else None
    return Answered(DeliveryOutcome.REJECTED, seconds, _reason(error), subscription_id)


def _reason(error: Exception) -> RejectReason:
    if isinstance(error, WebhookRejected):
        return RejectReason(error.reason)
    if isinstance(error, (DatabaseUnavailable, PoolTimeout)):
        return RejectReason.DATABASE
    if isinstance(error, NotFound):
        return RejectReason.PATH
    # The client was gone before its body was whole, or the body cannot be read.
    return RejectReason.MALFORMED if isinstance(error, HTTPException) else RejectReason.FAULT


def takes_deliveries(settings: Settings) -> bool:
    """Whether Strava may deliver anything: there is an app, or the token that it needs to subscribe the bridge."""
    return settings.client_id is not None or settings.webhook_verify_token is not None


def _check_path(settings: Settings, path_token: str) -> None:
    if not takes_deliveries(settings):
        raise NotFound
    expected = settings.webhook_path_token.get_secret_value() if settings.webhook_path_token else ""
    if not hmac.compare_digest(path_token.encode(), expected.encode()):
        # The same answer as for a path that does not exist: a guesser learns nothing.
        raise NotFound


def _capped_body() -> bytes:
    """The raw body. ``WebhookRejected`` if it is larger than allowed; at most one byte more is read."""
    if (request.content_length or 0) > BODY_CAP_BYTES:
        raise WebhookRejected(RejectReason.TOO_LARGE, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = request.stream.read(BODY_CAP_BYTES + 1)
    if len(body) > BODY_CAP_BYTES:
        raise WebhookRejected(RejectReason.TOO_LARGE, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
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
