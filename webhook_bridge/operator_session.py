"""Is the browser at hand the operator's? Its cookie names a session; a row in the database tells whether it is open.

Nothing else makes anybody the operator, but ``STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN``, which makes it everybody.
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
    """Whether the request at hand may do what the operator may; asks the database once per request, and if at all."""
    if "is_operator" not in g:
        g.is_operator = current_bridge().settings.dangerously_open_without_login or _has_open_session()
    found: bool = g.is_operator
    return found


def give_cookie(response: Response, secret: str) -> None:
    """Have the browser keep a session's secret: out of reach of scripts, and of requests that other sites begin."""
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
    """End the browser's session where it is kept, then in the browser."""
    with current_bridge().engine.begin() as connection:
        operator_sessions.end_session(connection, _cookie())
    forget_cookie(response)


def forget_cookie(response: Response) -> None:
    """Have the browser forget its session."""
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
        # The page can still be read where a copy of the database answers, but nothing can be done there.
        return _is_open(current_bridge().reading_engine, secret, settings)


def _is_open(engine: Engine, secret: str, settings: Settings) -> bool:
    with autocommit(engine) as connection:
        return operator_sessions.is_open(connection, secret, session_proof(settings))


def _cookie() -> str:
    return request.cookies.get(cookie_name(current_bridge().settings), "")
