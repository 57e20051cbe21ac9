"""Tells whether a request is the operator's: its cookie names a session that must be open in the database.

There is no other way, except that ``STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN`` makes everybody the operator. While the
primary is away, a session that was seen there may still look at pages (:func:`may_look`).
"""

from __future__ import annotations

from functools import partial

from flask import g, request
from werkzeug.wrappers import Response

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.web.operator_door import cookie_name, is_over_tls, operator_token, session_proof
from webhook_bridge.current import current_bridge
from webhook_bridge.sessions import SAFE_METHODS


def is_operator() -> bool:
    """Whether the current request is the operator's, as the primary says, which is asked once per request at most."""
    if "is_operator" not in g:
        g.is_operator = current_bridge().settings.dangerously_open_without_login or _has_open_session()
    found: bool = g.is_operator
    return found


def may_look() -> bool:
    """Whether the current request may see what is stored: it is the operator's, or was while the primary answered.

    ``DatabaseUnavailable`` while the primary is away if the request could change something, or its session was not seen
    open before. What the replica says alone counts for nothing: it may not know yet that the session was ended.
    """
    try:
        return is_operator()
    except DatabaseUnavailable:
        bridge, secret = current_bridge(), _cookie()
        if request.method not in SAFE_METHODS or not bridge.seen_sessions.has(secret):
            raise
        proof = session_proof(bridge.settings)
        return bridge.reader.read(partial(operator_sessions.is_open, secret=secret, proof=proof)).value


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
    bridge, secret = current_bridge(), _cookie()
    try:
        with bridge.engine.begin() as connection:
            operator_sessions.end_session(connection, secret)
    finally:
        bridge.seen_sessions.end(secret)  # even if the primary's answer is lost
    clear_cookie(response)


def end_all_sessions(response: Response) -> None:
    """End all sessions of the operator and all unused login links, note that, then delete the browser's cookie."""
    bridge = current_bridge()
    try:
        with bridge.engine.begin() as connection:
            ended = operator_sessions.end_all_sessions(connection)
            note_action(connection, Actor.OPERATOR, "logout", "everywhere", detail=f"{ended} sessions and links")
    finally:
        bridge.seen_sessions.end_all()
    clear_cookie(response)


def clear_cookie(response: Response) -> None:
    """Have the browser delete its cookie."""
    settings = current_bridge().settings
    response.delete_cookie(cookie_name(settings), secure=is_over_tls(settings), httponly=True, samesite="Lax")


def _has_open_session() -> bool:
    bridge, secret = current_bridge(), _cookie()
    if not secret or operator_token(bridge.settings) is None:
        return False
    endings = bridge.seen_sessions.endings()
    with autocommit(bridge.engine) as connection:
        found = operator_sessions.is_open(connection, secret, session_proof(bridge.settings))
    bridge.seen_sessions.note(secret, is_open=found, endings=endings)
    return found


def _cookie() -> str:
    return request.cookies.get(cookie_name(current_bridge().settings), "")
