"""The guard's own pages: login, logout, their style and icon, and the readiness check."""

from __future__ import annotations

import hmac
import importlib.resources
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from jinja2 import Environment, FileSystemLoader
from starlette.responses import RedirectResponse, Response

import webhook_bridge
from strava_pipeline.dagster_guard.answers import html_answer, text_answer
from strava_pipeline.dagster_guard.asked import RequestHead
from strava_pipeline.dagster_guard.bodies import Body
from strava_pipeline.dagster_guard.door import AccessSettings
from strava_pipeline.dagster_guard.entry import session_secrets
from strava_pipeline.dagster_guard.rules import Refusal, comes_from_our_page
from strava_pipeline.dagster_guard.sessions import Sessions
from strava_pipeline.dagster_guard.wrong_tokens import WrongTokenLimit
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.access.operator_sessions import SESSION_LIFETIME

log = get_logger(__name__)

NO_TOKEN = "STRAVA_OPERATOR_TOKEN is not set, so nobody can log in: make one with strava-pipeline init."  # noqa: S105  a message
FORM_CAP_BYTES = 4096
FORM_SECONDS = 10.0
LONGEST_NEXT = 2000
HOME = "/"
Handler = Callable[[RequestHead, Body], Awaitable[Response]]


@dataclass(frozen=True)
class _Paths:
    """Paths of the guard's pages; Dagster's UI has none below ``/operator``."""

    login: str = "/operator/login"
    logout: str = "/operator/logout"
    style: str = "/operator/pages.css"
    icon: str = "/operator/icon.svg"
    ready: str = "/health/ready"


PATHS = _Paths()
FORMS = frozenset({PATHS.login, PATHS.logout})
_ALL = frozenset(vars(PATHS).values())
_STATIC = importlib.resources.files(webhook_bridge) / "static"
_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_TEMPLATES.globals["paths"] = PATHS


def is_guard_page(request: RequestHead) -> bool:
    """Whether a request is for one of the guard's own pages, and not for Dagster."""
    return request.path in _ALL and not request.is_websocket


def login_needed(request: RequestHead) -> Response:
    """Return the answer to a request that needs a login: a redirect to the form for browsers, one line for programs."""
    if request.method == "GET" and not request.is_websocket and _is_navigation(request):
        return RedirectResponse(
            f"{PATHS.login}?next={quote(local_path(request.target), safe='')}", HTTPStatus.SEE_OTHER
        )
    return text_answer(f"You are not logged in: open {PATHS.login} in a browser.", HTTPStatus.UNAUTHORIZED)


def local_path(text: str) -> str:
    """Return ``text`` if it is a path on this server, with or without a query; else the path of the front page.

    Browsers read a backslash as a slash, ignore tabs and line feeds, and read two slashes as the start of a host.
    """
    plain = text.isascii() and text.isprintable() and not set(text) & set('\\ "<>')
    is_local = text.startswith("/") and not text.startswith("//") and len(text) <= LONGEST_NEXT
    return text if plain and is_local and urlsplit(text).path not in _ALL else HOME


class Pages:
    """Handlers of the guard's own pages. They raise ``DatabaseUnavailable`` when the database does not answer."""

    def __init__(self, access: AccessSettings, sessions: Sessions, wrong_tokens: WrongTokenLimit) -> None:
        self._access = access
        self._sessions = sessions
        self._wrong_tokens = wrong_tokens
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", PATHS.login): self._login_form,
            ("POST", PATHS.login): self._login,
            ("GET", PATHS.logout): self._logout_form,
            ("POST", PATHS.logout): self._logout,
            ("GET", PATHS.style): self._style,
            ("GET", PATHS.icon): self._icon,
            ("GET", PATHS.ready): self._ready,
        }

    async def answer(self, request: RequestHead, body: Body) -> Response:
        """Return the answer to a request that the rules allow."""
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            return text_answer(f"{request.path} does not answer {request.method}.", HTTPStatus.METHOD_NOT_ALLOWED)
        return await handler(request, body)

    async def _login_form(self, request: RequestHead, _: Body) -> Response:
        if self._access.token is None:
            return text_answer(NO_TOKEN, HTTPStatus.FORBIDDEN)
        query = parse_qs(urlsplit(request.target).query)
        return _login_page(local_path(query.get("next", [HOME])[-1]))

    async def _login(self, request: RequestHead, body: Body) -> Response:
        if self._access.token is None:
            return text_answer(NO_TOKEN, HTTPStatus.FORBIDDEN)
        if not comes_from_our_page(request):
            return text_answer("The form was not sent from this page: load the page again.", HTTPStatus.FORBIDDEN)
        fields = await _read_form(body)
        if isinstance(fields, Response):
            return fields
        following = local_path(fields.get("next", HOME))
        if not hmac.compare_digest(fields.get("token", "").encode(), self._access.token.reveal().encode()):
            if not self._wrong_tokens.try_record():
                return _login_page(
                    following,
                    "That is not the token, and too many were tried: wait a minute.",
                    HTTPStatus.TOO_MANY_REQUESTS,
                )
            await self._sessions.record_wrong_token(request.address)
            log.warning("a wrong operator's token came from %s", request.address)
            return _login_page(following, "That is not the token.", HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse(following, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        # A proxy in front of Dagster may end TLS, also if no such proxy is in front of the bridge.
        over_tls = self._access.over_tls or (request.header("origin") or "").startswith("https:")
        lifetime = int(SESSION_LIFETIME.total_seconds())
        secret = await self._sessions.open(request.address)
        answer.set_cookie(self._access.cookie, secret, lifetime, secure=over_tls, httponly=True, samesite="lax")
        return answer

    async def _logout_form(self, _: RequestHead, __: Body) -> Response:
        return html_answer(_TEMPLATES.get_template("logout.html").render())

    async def _logout(self, request: RequestHead, _: Body) -> Response:
        if not comes_from_our_page(request):
            return text_answer("The form was not sent from this page: load the page again.", HTTPStatus.FORBIDDEN)
        await self._sessions.end(session_secrets(request, self._access.cookie))
        answer = RedirectResponse(PATHS.login, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        answer.delete_cookie(self._access.cookie, secure=self._access.over_tls, httponly=True, samesite="lax")
        return answer

    async def _style(self, _: RequestHead, __: Body) -> Response:
        return Response(_STATIC.joinpath("pages.css").read_bytes(), media_type="text/css")

    async def _icon(self, _: RequestHead, __: Body) -> Response:
        return Response(_STATIC.joinpath("icon.svg").read_bytes(), media_type="image/svg+xml")

    async def _ready(self, _: RequestHead, __: Body) -> Response:
        return text_answer("ready", HTTPStatus.OK)


def _login_page(following: str, wrong: str | None = None, status: int = HTTPStatus.OK) -> Response:
    return html_answer(_TEMPLATES.get_template("login.html").render(next=following, wrong=wrong), status)


def _is_navigation(request: RequestHead) -> bool:
    """Whether a browser will show the answer as a page."""
    mode = request.header("sec-fetch-mode")
    return mode == "navigate" or (mode is None and "text/html" in (request.header("accept") or ""))


async def _read_form(sent: Body) -> dict[str, str] | Response:
    """Return the fields of a form, the last value of each; or an answer if the body is too long or too slow."""
    body = await sent.read(FORM_CAP_BYTES, FORM_SECONDS)
    if isinstance(body, Refusal):
        return text_answer(body.reason, body.status)
    found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in found.items()}
