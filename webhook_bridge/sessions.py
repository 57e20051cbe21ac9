"""Browser sessions: a signed cookie with a random id, and a token per session that every form carries.

The token is checked before each request that may change something, on every route: a new form needs only the field.
Endpoints that take requests from no form are named in ``NO_FORMS``.

The cookie is signed, not encrypted. It holds a guest's invitation and the next page's message, and makes nobody the
operator (see :mod:`webhook_bridge.operator_session`). Its keys are derived from ``STRAVA_TOKEN_KEYS``, each for one
purpose.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta
from urllib.parse import urlsplit

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import Forbidden

from strava_pipeline.keyring import KeyPurpose, Keyring
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from strava_pipeline.web.operator_door import is_over_tls
from strava_pipeline.web.origins import Origin, has_host, is_same_origin, parse_authority, parse_origin
from webhook_bridge.current import current_bridge

LIFETIME = timedelta(hours=12)
ID_BYTES = 32
COOKIE = "strava_pipeline"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Strava's deliveries, which are signed or know the path; mail programs, which end mails by one click (RFC 8058); and
# parts of uploads, which carry a ticket in a header, where no form of another site can put one.
NO_FORMS = frozenset({"webhooks.deliver", "unsubscribing.end", "upload_api.put_part"})


class _Sha256Sessions(SecureCookieSessionInterface):
    salt = "strava-pipeline-session"
    digest_method = staticmethod(hashlib.sha256)


def install_sessions(app: Flask, settings: Settings, keyring: Keyring) -> None:
    """Give the app its sessions; over https the cookie is bound to this very host."""
    over_tls = is_over_tls(settings)
    app.session_interface = _Sha256Sessions()
    app.secret_key = keyring.derive_key(KeyPurpose.SESSION)
    app.config.update(
        SESSION_COOKIE_NAME=f"__Host-{COOKIE}" if over_tls else COOKIE,
        SESSION_COOKIE_SECURE=over_tls,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )


def install_form_check(app: Flask) -> None:
    """Answer 403 to each form that was not sent from a page of ours in the same session."""

    def check() -> None:
        # Without an endpoint there is no such page, or not by this method, and the answer is 404 or 405.
        if request.method not in SAFE_METHODS and request.endpoint not in NO_FORMS and request.endpoint is not None:
            _check_form()

    app.before_request(check)


def session_id() -> str:
    """The id of the browser's session; begins a session if there is none."""
    if "id" not in session:
        begin_anew()
    found: str = session["id"]
    return found


def begin_anew() -> None:
    """Begin another session in this browser, so that a session that an attacker planted is worth nothing."""
    session.clear()
    session.permanent = True
    session["id"] = secrets.token_urlsafe(ID_BYTES)


def csrf_token() -> str:
    """The token that every form of this session carries."""
    key = current_bridge().csrf_key
    return hmac.new(key, session_id().encode(), hashlib.sha256).hexdigest()


def say_next(text: str) -> None:
    """Have the next page show this text, once."""
    session["said"] = text


def said() -> str | None:
    """Take the text that an earlier request left for this page; ``None`` if there is none."""
    text: str | None = session.pop("said", None)
    return text


def _check_form() -> None:
    sent = request.form.get("csrf", "")
    if not _is_from_us() or "id" not in session or not hmac.compare_digest(sent.encode(), csrf_token().encode()):
        raise Forbidden("The form was not sent from this page, or the page is too old: load it again.")


def _is_from_us() -> bool:
    """Whether the form is on a page of ours, by the browser's ``Origin``, or else ``Sec-Fetch-Site``."""
    origin = request.headers.get("Origin")
    if origin is None or origin == "null":
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    page, host = parse_origin(origin), parse_authority(request.host)
    if page is None:
        return False
    settings = current_bridge().settings
    public = _public_origin(settings)
    if public is not None and is_same_origin(page, public):
        return True
    if host is None or not has_host(page, host) or (public is not None and has_host(public, host)):
        return False
    # Anybody in the network can forge a page that comes without TLS.
    came_by_tls = is_over_tls(settings) or request.scheme == "https"
    return page.scheme == "https" or not came_by_tls or host.name in LOOPBACK_HOSTS


def _public_origin(settings: Settings) -> Origin | None:
    public = urlsplit(settings.bridge_public_url or "")
    return parse_origin(f"{public.scheme}://{public.netloc}".lower())
