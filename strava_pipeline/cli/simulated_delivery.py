"""A made-up event as Strava would send it, and its delivery to a bridge.

Source: https://developers.strava.com/docs/webhooks/
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from http import HTTPStatus

import requests

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.http_session import new_http_session
from strava_pipeline.proxies import through
from strava_pipeline.settings import Settings
from strava_pipeline.strava.mapping.fields import JsonObject

TIMEOUT_SECONDS = 10
LONGEST_ANSWER = 200


class DeliveryFailed(StravaPipelineError):
    """The bridge did not take a simulated delivery."""


def activity_event(
    settings: Settings, athlete_id: int, activity_id: int, aspect: str, updates: Mapping[str, str]
) -> JsonObject:
    """An event about one activity, which happens now; ``updates`` are what an update changes."""
    return _event(settings, "activity", activity_id, aspect, athlete_id, updates)


def deauthorization_event(settings: Settings, athlete_id: int) -> JsonObject:
    """The event that Strava sends when an athlete ends the grant at Strava."""
    return _event(settings, "athlete", athlete_id, "update", athlete_id, {"authorized": "false"})


def deliver(settings: Settings, event: JsonObject, url: str) -> str:
    """Post an event to a callback, signed if the settings have a key; returns the bridge's answer.

    ``DeliveryFailed`` unless the bridge takes it.
    """
    body = json.dumps(event).encode()
    try:
        with new_http_session(settings.ca_bundle) as session:
            # Strava follows none either, and a signed body is for this address alone.
            headers = _headers(settings, body)
            answer = session.post(url, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        # The URL is not shown, since its path may end in a secret.
        why = f"{type(error).__name__}{through(url)}"
        raise DeliveryFailed(
            f"the bridge cannot be reached ({why}): start strava-pipeline up or bridge, or give"
            " --public-url if it runs elsewhere"
        ) from None
    if answer.status_code != HTTPStatus.OK:
        raise DeliveryFailed(f"the bridge answered {answer.status_code}: {answer.text.strip()[:LONGEST_ANSWER]}")
    return answer.text.strip()


def _event(
    settings: Settings, object_type: str, object_id: int, aspect: str, owner_id: int, updates: Mapping[str, str]
) -> JsonObject:
    return {
        "object_type": object_type,
        "object_id": object_id,
        "aspect_type": aspect,
        "updates": dict(updates),
        "owner_id": owner_id,
        "subscription_id": settings.webhook_subscription_id or 1,
        "event_time": int(time.time()),
    }


def _headers(settings: Settings, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    timestamp = str(int(time.time()))
    for secret in settings.signing_secrets()[:1]:
        signature = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers["X-Strava-Signature"] = f"t={timestamp},v1={signature}"
    return headers
