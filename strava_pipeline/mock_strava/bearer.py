"""The caller's grant, found by the token in the header ``Authorization: Bearer``.

Tokens in other places are ignored; the API of 2027 refuses calls that have one there.
"""

from __future__ import annotations

from flask import g, request

from strava_pipeline.mock_strava.config import Form
from strava_pipeline.mock_strava.grants import Grant
from strava_pipeline.mock_strava.refusals import scope_missing, token_invalid
from strava_pipeline.mock_strava.state import current_mock


def bearer_grant() -> Grant:
    """Return the caller's grant; ``Refused`` (401) without a valid token."""
    authorization = request.authorization
    elsewhere = "access_token" in request.args or "access_token" in request.form
    if elsewhere and current_mock().config.form is Form.API_OF_2027:
        raise token_invalid()
    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise token_invalid()
    grant = current_mock().grants.find_by_access_token(authorization.token)
    g.athlete_id = grant.athlete_id
    return grant


def activity_grant() -> Grant:
    """Return the caller's grant; ``Refused`` (401) unless it has a scope to read activities."""
    grant = bearer_grant()
    if not grant.sees_activities:
        raise scope_missing("activity:read_permission")
    return grant
