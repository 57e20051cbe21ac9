"""Who calls: the grant behind the ``Authorization: Bearer`` header, the only place a token is taken from."""

from __future__ import annotations

from flask import g, request

from strava_pipeline.mock_strava.grants import Grant
from strava_pipeline.mock_strava.refusals import scope_missing, token_invalid
from strava_pipeline.mock_strava.state import current_mock


def bearer_grant() -> Grant:
    """The caller's grant; ``Refused`` without a valid token."""
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise token_invalid()
    grant = current_mock().grants.of_token(authorization.token)
    g.athlete_id = grant.athlete_id
    return grant


def activity_grant() -> Grant:
    """The caller's grant; ``Refused`` unless it lets activities be seen."""
    grant = bearer_grant()
    if not grant.sees_activities:
        raise scope_missing("activity:read_permission")
    return grant
