"""Blueprint: the operator's login, and the gate in front of the operator's pages.

A login is required on this machine as well: a request that comes from here may come from anywhere, through a program
that forwards connections.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus

from flask import Blueprint, redirect, request, session, url_for
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response

from strava_pipeline.printable import printable
from strava_pipeline.redaction import SecretPath, get_logger
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.web import operator_door
from webhook_bridge.bad_requests import EVERYBODY, LONGEST_ADDRESS, NOBODY, PER_MINUTE, known_sender
from webhook_bridge.current import current_bridge
from webhook_bridge.operator_session import end_all_sessions, end_session, give_cookie, is_operator, may_look
from webhook_bridge.pages import Answer, install_pages, message, page
from webhook_bridge.sessions import begin_anew, session_id

log = get_logger(__name__)

NO_TOKEN = "STRAVA_OPERATOR_TOKEN is not set: strava-pipeline init or strava-pipeline up makes one."  # noqa: S105  it says that there is none
# The field of the browser's session with the page that asked for the login.
AFTER_LOGIN = "after_login"

operator = Blueprint("operator", __name__, template_folder="templates", static_folder="static")
install_pages(operator)


@operator.get("/login")
def login_form() -> Answer | Response:
    """Show the form that asks for the operator's token; redirect to the status page if the operator is logged in."""
    require_token()
    return redirect(url_for("status.overview"), HTTPStatus.SEE_OTHER) if is_operator() else page("login.html")


@operator.post("/login")
def login() -> Answer | Response:
    """Open a session if the token is right; :mod:`webhook_bridge.bad_requests` says how guesses are limited."""
    require_token()
    wrong = current_bridge().wrong_tokens
    sender = known_sender()
    closed_for = wrong.seconds_left(sender or NOBODY)
    fits = not (sender and closed_for) and _is_token(request.form.get("token", ""))
    if not fits and closed_for:
        return _too_many(closed_for)
    if not fits:
        wrong.add(sender or NOBODY)
        if wrong.add(EVERYBODY) <= PER_MINUTE:
            _note_wrong_token()
        return page("login.html", HTTPStatus.UNAUTHORIZED, wrong=True)
    with current_bridge().engine.begin() as connection:
        note_action(connection, Actor.OPERATOR, "login", _shown_sender())
        secret = operator_sessions.open_session(connection, _proof())
    return _logged_in(secret)


@operator.get(f"{SecretPath.LOGIN}/<secret>")
def sign_in_form(secret: str) -> Answer:
    """Show the page of a link that logs in once; only the page's button uses the link up.

    Programs follow links, too: a browser that loads pages ahead, or a mail filter, must not use the link up.
    """
    require_token()
    with autocommit(current_bridge().engine) as connection:
        is_good = operator_sessions.is_link_good(connection, secret, _proof())
    if not is_good:
        return _used_up()
    answer = page("sign_in.html", secret=secret)
    # The browser must not send this address, which holds the secret; but with no-referrer it would hide the form's
    # origin, by which we know the form as ours.
    answer.headers["Referrer-Policy"] = "strict-origin"
    return answer


@operator.post(f"{SecretPath.LOGIN}/<secret>")
def sign_in(secret: str) -> Answer | Response:
    """Open a session by a login link, if the link is still good, and use it up."""
    require_token()
    with current_bridge().engine.begin() as connection:
        if not operator_sessions.redeem_sign_in_link(connection, secret, _proof()):
            return _used_up()
        note_action(connection, Actor.OPERATOR, "login", _shown_sender(), detail="by a login link")
        opened = operator_sessions.open_session(connection, _proof())
    return _logged_in(opened)


@operator.post("/logout")
def logout() -> Response:
    """End the session of this browser."""
    answer = redirect(url_for("operator.login_form"), HTTPStatus.SEE_OTHER)
    end_session(answer)
    session.clear()
    return answer


@operator.post("/logout/everywhere")
def logout_everywhere() -> Answer | Response:
    """End all sessions of the operator, and all unused login links."""
    operator_gate()
    answer = redirect(url_for("operator.login_form"), HTTPStatus.SEE_OTHER)
    end_all_sessions(answer)
    session.clear()
    return answer


def operator_gate() -> Response | None:
    """Let the operator pass; redirect anybody else's GET to the login. ``Forbidden`` for other methods.

    Called before each request of a blueprint. ``Forbidden``, too, if no operator's token is set. While the primary is
    away, GET passes for sessions that were seen there (:func:`~webhook_bridge.operator_session.may_look`).
    """
    require_token()
    if may_look():
        return None
    if request.method != "GET":
        raise Forbidden("You are not logged in any more: load the page again.")
    # A path of ours, in a cookie that is signed: the login leads nowhere else.
    session_id()  # begins a session, if there is none, before something is put into it
    session[AFTER_LOGIN] = request.path
    return redirect(url_for("operator.login_form"), HTTPStatus.SEE_OTHER)


def require_token() -> None:
    """Raise ``Forbidden`` if no operator's token is set, unless the pages are open without login."""
    settings = current_bridge().settings
    if operator_door.operator_token(settings) is None and not settings.dangerously_open_without_login:
        raise Forbidden(NO_TOKEN)


def _logged_in(secret: str) -> Response:
    following = session.get(AFTER_LOGIN) or url_for("status.overview")
    begin_anew()
    answer = redirect(following, HTTPStatus.SEE_OTHER)
    give_cookie(answer, secret)
    return answer


def _is_token(given: str) -> bool:
    token = operator_door.operator_token(current_bridge().settings)
    return token is not None and hmac.compare_digest(given.encode(), token.encode())


def _note_wrong_token() -> None:
    log.warning("a wrong operator's token came from %s", _shown_sender())
    with current_bridge().engine.begin() as connection:
        note_action(connection, Actor.OPERATOR, "login", _shown_sender(), ok=False)


def _too_many(seconds: float) -> Answer:
    text = (
        f"Wait {int(seconds) + 1} s, or log in by a link: strava-pipeline login-link prints one, which works at once."
    )
    answer = message("Too many wrong tokens", text, HTTPStatus.TOO_MANY_REQUESTS)
    answer.headers["Retry-After"] = str(int(seconds) + 1)
    return answer


def _used_up() -> Answer:
    text = (
        "It was used before, is too old or incomplete, or was made under other settings than the bridge's."
        " strava-pipeline login-link prints a new one."
    )
    return message("This link does not log in any more", text, HTTPStatus.GONE)


def _shown_sender() -> str:
    return printable(request.remote_addr or "unknown", LONGEST_ADDRESS)


def _proof() -> str:
    return operator_door.session_proof(current_bridge().settings)
