"""The app's own credentials: the client id and secret that OAuth and push subscription calls carry."""

from __future__ import annotations

import hmac

from flask import request

from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.refusals import client_invalid, secret_invalid
from strava_pipeline.mock_strava.state import current_mock


def check_client_id(client_id: str) -> None:
    """``Refused`` unless it is the configured id, or any number where none is configured."""
    expected = current_mock().config.client_id
    known = client_id == expected if expected is not None else client_id.isdecimal() and client_id.isascii()
    if not known:
        raise client_invalid()


def check_client(client_id: str, client_secret: str) -> None:
    """``Refused`` unless id and secret are those of the app; without a configured secret any will do."""
    check_client_id(client_id)
    if not client_secret or not _fits(current_mock().config, client_secret):
        raise secret_invalid()


def check_client_in_request() -> None:
    """The same for a call that carries both in its form or its query."""
    check_client(request.values.get("client_id", ""), request.values.get("client_secret", ""))


def _fits(config: MockConfig, client_secret: str) -> bool:
    expected = config.client_secret
    return expected is None or hmac.compare_digest(client_secret.encode(), expected.encode())
