"""Blueprint: the operator's login, and the gate before everything that is theirs alone.

On the machine itself the pages are open as long as no ``STRAVA_OPERATOR_TOKEN`` is set. Behind a proxy every request
seems to come from the machine itself: a public address in the settings, a host that is none of this machine's, or any
trace of a proxy, and the token is needed.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from urllib.parse import urlsplit

from flask import Blueprint, current_app, redirect, request, url_for
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response

from strava_pipeline.settings import LOOPBACK_HOSTS, Settings
from strava_pipeline.warehouse.operator_audit import Actor, note_action
from webhook_bridge.pages import Answer, install_pages, page
from webhook_bridge.sessions import check_form, is_operator, log_in, log_out

log = logging.getLogger(__name__)

SEE_OTHER = 303
UNAUTHORIZED = 401
TRACES_OF_A_PROXY = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
NO_TOKEN = "STRAVA_OPERATOR_TOKEN is not set: beyond this machine the page opens to whoever knows that token."  # noqa: S105  it says that there is none

operator = Blueprint("operator", __name__, template_folder="templates", static_folder="static")
install_pages(operator)


@operator.get("/login")
def login_form() -> Answer:
    """The form that asks for the operator's token."""
    _configured_token()
    return page("login.html")


@operator.post("/login")
def login() -> Answer | Response:
    """Open a session for whoever knows the token; guesses are limited per address, like all bad requests."""
    check_form()
    token = _configured_token()
    fits = hmac.compare_digest(request.form.get("token", "").encode(), token.encode())
    with current_app.extensions["engine"].begin() as connection:
        note_action(connection, Actor.OPERATOR, "login", request.remote_addr, ok=fits)
    if not fits:
        log.warning("a wrong operator's token came from %s", request.remote_addr)
        return page("login.html", UNAUTHORIZED, wrong=True)
    log_in(token)
    return redirect(url_for("status.overview"), SEE_OTHER)


@operator.post("/logout")
def logout() -> Response:
    """End the session in this browser."""
    check_form()
    log_out()
    return redirect(url_for("operator.login_form"), SEE_OTHER)


def operator_gate() -> Response | None:
    """Before each request of a blueprint: lets the operator pass, shows the way to the login, or ``Forbidden``."""
    token = _token()
    if token is None:
        if is_on_this_machine():
            return None
        raise Forbidden(NO_TOKEN)
    if is_operator(token):
        return None
    if request.method != "GET":
        raise Forbidden("You are not logged in any more: load the page again.")
    return redirect(url_for("operator.login_form"), SEE_OTHER)


def may_act() -> bool:
    """Whether the browser at hand is the operator's."""
    token = _token()
    return is_on_this_machine() if token is None else is_operator(token)


def is_on_this_machine() -> bool:
    """Whether the request came straight from this machine, to a name that only this machine has."""
    public = urlsplit(_settings().bridge_public_url or "http://localhost").hostname
    return (
        public in LOOPBACK_HOSTS
        and not _settings().trusted_proxies
        and _is_loopback(request.remote_addr)
        # A page elsewhere may have pointed its own name to this machine.
        and urlsplit(f"//{request.host}").hostname in LOOPBACK_HOSTS
        and not any(name in request.headers for name in TRACES_OF_A_PROXY)
    )


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _configured_token() -> str:
    token = _token()
    if token is None:
        raise Forbidden(NO_TOKEN)
    return token


def _token() -> str | None:
    secret = _settings().operator_token
    return None if secret is None else secret.get_secret_value()


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings
