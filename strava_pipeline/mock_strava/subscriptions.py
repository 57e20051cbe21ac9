"""Flask blueprint of the app's push subscription, and the check of its callback."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
from flask import Blueprint, Response, jsonify, request

from strava_pipeline.mock_strava.credentials import check_client_in_request
from strava_pipeline.mock_strava.refusals import Refused, bad_request, not_found
from strava_pipeline.mock_strava.state import current_mock

VERIFY_SECONDS = 2.0
LONGEST_ANSWER = 10_000

subscriptions = Blueprint("subscriptions", __name__)


@subscriptions.post("/push_subscriptions")
def subscribe() -> tuple[Response, int]:
    """Create the subscription after its callback has echoed a challenge."""
    check_client_in_request()
    mock = current_mock()
    if mock.subscription is not None:
        raise bad_request("PushSubscription", "", "already exists")
    callback, verify_token = request.values.get("callback_url", ""), request.values.get("verify_token", "")
    parts = urlsplit(callback)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise bad_request("PushSubscription", "callback url", "invalid")
    _verify_callback(callback, verify_token)
    now = datetime.fromtimestamp(mock.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mock.subscription = {
        "id": mock.config.subscription_id,
        "resource_state": 2,
        "application_id": int(request.values["client_id"]),
        "callback_url": callback,
        "created_at": now,
        "updated_at": now,
    }
    return jsonify(id=mock.config.subscription_id), HTTPStatus.CREATED


@subscriptions.get("/push_subscriptions")
def view() -> Response:
    """Return a list of the subscription, empty if there is none."""
    check_client_in_request()
    subscription = current_mock().subscription
    return jsonify([] if subscription is None else [subscription])


@subscriptions.delete("/push_subscriptions/<int:subscription_id>")
def unsubscribe(subscription_id: int) -> tuple[str, int]:
    """Delete the subscription."""
    check_client_in_request()
    mock = current_mock()
    if mock.subscription is None or mock.subscription["id"] != subscription_id:
        raise not_found("PushSubscription")
    mock.subscription = None
    return "", HTTPStatus.NO_CONTENT


def _verify_callback(callback: str, verify_token: str) -> None:
    """Raise ``Refused`` unless the callback answers 200 with the challenge in time."""
    challenge = secrets.token_hex(10)
    query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
    try:
        echoed = json.loads(_get(callback, query)).get("hub.challenge")
    except (requests.RequestException, ValueError, AttributeError):
        raise _not_verifiable() from None
    if echoed != challenge:
        raise _not_verifiable()


def _get(callback: str, query: dict[str, str]) -> bytes:
    """Return the body of a 200; raise an error of ``requests`` for other answers, and for slow or long ones."""
    deadline = time.monotonic() + VERIFY_SECONDS
    body = b""
    with requests.Session() as session:
        # Proxies and .netrc of the environment must not affect the request.
        session.trust_env = False
        answer = session.get(callback, params=query, timeout=VERIFY_SECONDS, allow_redirects=False, stream=True)
        if answer.status_code != HTTPStatus.OK:
            raise requests.HTTPError
        for chunk in answer.iter_content(1):
            body += chunk
            if len(body) > LONGEST_ANSWER or time.monotonic() > deadline:
                raise requests.Timeout
    return body


def _not_verifiable() -> Refused:
    return bad_request("PushSubscription", "callback url", "not verifiable")
