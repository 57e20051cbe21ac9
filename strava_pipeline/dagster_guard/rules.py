"""Rules that refuse requests before any login: unknown host names, pages of other sites, forgeable requests.

A page of another site can make a browser send GETs, and POSTs of forms and plain text, without a preflight. By DNS
rebinding, which points the page's own host name to this machine, it even gets the origin of Dagster's UI. So a request
that changes something must be JSON, which needs a preflight, must come from the same origin, and must use a host name
that is configured here.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from http import HTTPStatus

from strava_pipeline.dagster_guard.asked import RequestHead
from strava_pipeline.dagster_guard.door import AccessSettings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from strava_pipeline.web.origins import has_host, parse_authority, parse_origin
from strava_pipeline.web.request_signature import HEADER

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
GRAPHQL = "graphql"
READ_METHODS = frozenset({"GET", "HEAD"})
# These methods change nothing, but reveal facts about the server or open a tunnel through it.
REFUSED_METHODS = frozenset({"OPTIONS", "TRACE", "TRACK", "CONNECT"})
# If one of these headers occurred twice, two programs could each use another of its values.
SINGLE_HEADERS = (
    "host", "origin", "content-type", "content-length", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
    HEADER.lower(),
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """The status of an answer, and its text of one line."""

    status: int
    reason: str


def check_request(
    request: RequestHead, access: AccessSettings, *, forms_at: frozenset[str] = frozenset()
) -> Refusal | None:
    """Return why the rules refuse a request, or ``None``. Paths in ``forms_at`` take forms instead of JSON."""
    return (
        _check_host(request, access)
        or _check_single_headers(request)
        or _check_path(request)
        or _check_origin(request, access)
        or _check_site(request)
        or (None if request.is_websocket else _check_method_and_type(request, forms_at))
    )


def comes_from_our_page(request: RequestHead) -> bool:
    """Whether the browser says that a page of the same origin sent a request, which the rules have allowed."""
    return request.header("origin") is not None or request.header("sec-fetch-site") == "same-origin"


def _check_host(request: RequestHead, access: AccessSettings) -> Refusal | None:
    host = parse_authority(request.header("host") or "")
    if host is not None and host.name in access.names:
        return None
    return Refusal(
        HTTPStatus.MISDIRECTED_REQUEST,
        "Dagster is not served under this host name: add the name to STRAVA_DAGSTER_HOSTS.",
    )


def _check_single_headers(request: RequestHead) -> Refusal | None:
    for name in SINGLE_HEADERS:
        if len(request.headers.get(name, ())) > 1:
            return Refusal(HTTPStatus.BAD_REQUEST, f"This request has the header {name} twice.")
    return None


def _check_path(request: RequestHead) -> Refusal | None:
    # The pattern of a route also matches a path with a line feed at its end; some proxies read a backslash as a slash.
    if request.path.startswith("/") and request.path.isprintable() and "\\" not in request.path:
        return None
    return Refusal(HTTPStatus.BAD_REQUEST, "There is no such address.")


def _check_origin(request: RequestHead, access: AccessSettings) -> Refusal | None:
    text = request.header("origin")
    if text is None:
        return None
    origin, host = parse_origin(text), parse_authority(request.header("host") or "")
    if origin is None or host is None or not has_host(origin, host):
        return Refusal(HTTPStatus.FORBIDDEN, "Pages of other origins may not send requests to Dagster.")
    if origin.scheme == "http" and access.over_tls and host.name not in LOOPBACK_HOSTS:
        # An attacker in the network can forge a page that came without TLS.
        return Refusal(HTTPStatus.FORBIDDEN, "This request comes from a page without TLS: open the page by https.")
    return None


def _check_site(request: RequestHead) -> Refusal | None:
    """Refuse requests that the browser attributes to another origin; another port of this host counts as another."""
    if request.header("sec-fetch-site") in {None, "same-origin", "none"} or _is_followed_link(request):
        return None
    return Refusal(HTTPStatus.FORBIDDEN, "Pages of other sites may not send requests to Dagster.")


def _is_followed_link(request: RequestHead) -> bool:
    return (
        request.method == "GET"
        and not request.is_websocket
        and request.header("sec-fetch-site") in {"same-site", "cross-site"}
        and request.header("sec-fetch-mode") == "navigate"
        and request.header("sec-fetch-dest") == "document"
    )


def _check_method_and_type(request: RequestHead, forms_at: frozenset[str]) -> Refusal | None:
    if request.method in REFUSED_METHODS:
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"This server does not answer {request.method}.")
    if request.method in READ_METHODS:
        # Dagster would execute a mutation also by GET.
        asks_graphql = posixpath.normpath(request.path).strip("/ ").lower() == GRAPHQL
        return (
            Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Send GraphQL by POST, as application/json.")
            if asks_graphql
            else None
        )
    wanted = FORM if request.path in forms_at else JSON
    if _media_type(request) != wanted:
        return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send this request with the content type {wanted}.")
    return None


def _media_type(request: RequestHead) -> str:
    return (request.header("content-type") or "").partition(";")[0].strip().lower()
