"""Check of the app's credentials: client id and secret in calls for OAuth and push subscriptions."""

from __future__ import annotations

import hmac

from flask import request

from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.refusals import client_invalid, secret_invalid
from strava_pipeline.mock_strava.state import current_mock


def check_client_id(client_id: str) -> None:
    """Raise ``Refused`` unless this is the configured id; if none is configured, every number is accepted."""
    expected = current_mock().config.client_id
    known = client_id == expected if expected is not None else client_id.isdecimal() and client_id.isascii()
    if not known:
        raise client_invalid()


def check_client(client_id: str, client_secret: str) -> None:
    """Raise ``Refused`` unless id and secret are the app's; if no secret is configured, every secret is accepted."""
    check_client_id(client_id)
    if not client_secret or not _secret_matches(current_mock().config, client_secret):
        raise secret_invalid()


def check_client_in_request() -> None:
    """Raise ``Refused`` unless the form or the query of the call has the app's id and secret."""
    check_client(request.values.get("client_id", ""), request.values.get("client_secret", ""))


def _secret_matches(config: MockConfig, client_secret: str) -> bool:
    expected = config.client_secret
    return expected is None or hmac.compare_digest(client_secret.encode(), expected.encode())
