"""Tells whether a request is the operator's: its cookie names a session that must be open in the database.

There is no other way, except that ``STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN`` makes everybody the operator.
"""

from __future__ import annotations

from flask import g, request
from sqlalchemy import Engine
from werkzeug.wrappers import Response

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.web.operator_door import cookie_name, is_over_tls, operator_token, session_proof
from webhook_bridge.current import current_bridge
from webhook_bridge.sessions import SAFE_METHODS


def is_operator() -> bool:
    """Whether the current request is the operator's; asks the database at most once per request."""
    if "is_operator" not in g:
        g.is_operator = current_bridge().settings.dangerously_open_without_login or _has_open_session()
    found: bool = g.is_operator
    return found


def give_cookie(response: Response, secret: str) -> None:
    """Set the cookie with a session's secret: scripts cannot read it, and forms of other sites do not send it."""
    settings = current_bridge().settings
    response.set_cookie(
        cookie_name(settings),
        secret,
        max_age=operator_sessions.SESSION_LIFETIME,
        secure=is_over_tls(settings),
        httponly=True,
        samesite="Lax",
    )


def end_session(response: Response) -> None:
    """End the browser's session in the database, then delete its cookie."""
    with current_bridge().engine.begin() as connection:
        operator_sessions.end_session(connection, _cookie())
    clear_cookie(response)


def clear_cookie(response: Response) -> None:
    """Have the browser delete its cookie."""
    settings = current_bridge().settings
    response.delete_cookie(cookie_name(settings), secure=is_over_tls(settings), httponly=True, samesite="Lax")


def _has_open_session() -> bool:
    settings, secret = current_bridge().settings, _cookie()
    if not secret or operator_token(settings) is None:
        return False
    try:
        return _is_open(current_bridge().engine, secret, settings)
    except DatabaseUnavailable:
        if request.method not in SAFE_METHODS:
            raise
        # A copy of the database may still answer: pages can be read then, but nothing can be changed.
        return _is_open(current_bridge().reading_engine, secret, settings)


def _is_open(engine: Engine, secret: str, settings: Settings) -> bool:
    with autocommit(engine) as connection:
        return operator_sessions.is_open(connection, secret, session_proof(settings))


def _cookie() -> str:
    return request.cookies.get(cookie_name(current_bridge().settings), "")
