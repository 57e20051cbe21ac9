"""What is refused whoever asks: other hosts' names, other sites' pages, and requests of a kind that a page can forge.

A page elsewhere can have a browser send GETs, and POSTs of forms and plain text, without asking first; and by pointing
its own name to this machine it becomes, to the browser, a page of Dagster's own. So what changes something is JSON,
which no foreign page can send unasked, comes from a page of the same origin, and by a name that is known here.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from http import HTTPStatus

from strava_pipeline.dagster_guard.asked import Asked
from strava_pipeline.dagster_guard.door import Door
from strava_pipeline.settings import LOOPBACK_HOSTS
from strava_pipeline.web.origins import is_at, parse_authority, parse_origin
from strava_pipeline.web.request_signature import HEADER

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
GRAPHQL = "graphql"
READING = frozenset({"GET", "HEAD"})
# They change nothing by themselves, but tell of the server, or open ways through it.
NEVER = frozenset({"OPTIONS", "TRACE", "TRACK", "CONNECT"})
# Two of one of these, and two programs may each believe another.
ONCE = (
    "host", "origin", "content-type", "content-length", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
    HEADER.lower(),
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """The status of the answer, and the one line it says."""

    status: int
    reason: str


def refusal(asked: Asked, door: Door, *, forms_at: frozenset[str] = frozenset()) -> Refusal | None:
    """Why a request is refused, whoever sends it; ``None`` if it is not. At ``forms_at`` forms are sent, not JSON."""
    return (
        _wrong_host(asked, door)
        or _said_twice(asked)
        or _odd_path(asked)
        or _foreign_page(asked, door)
        or _foreign_site(asked)
        or (None if asked.is_websocket else _wrong_kind(asked, forms_at))
    )


def comes_from_our_page(asked: Asked) -> bool:
    """Whether a request that passed the rules was sent by a page of the same origin, as the browser says."""
    return asked.header("origin") is not None or asked.header("sec-fetch-site") == "same-origin"


def _wrong_host(asked: Asked, door: Door) -> Refusal | None:
    host = parse_authority(asked.header("host") or "")
    if host is not None and host.name in door.names:
        return None
    return Refusal(
        HTTPStatus.MISDIRECTED_REQUEST, "Dagster is not served by this name: STRAVA_DAGSTER_HOSTS says by which it is."
    )


def _said_twice(asked: Asked) -> Refusal | None:
    for name in ONCE:
        if len(asked.headers.get(name, ())) > 1:
            return Refusal(HTTPStatus.BAD_REQUEST, f"The header {name} stands in this request twice.")
    return None


def _odd_path(asked: Asked) -> Refusal | None:
    # A route's pattern matches before a line feed at the end, and some proxies read a backslash as a slash.
    if asked.path.startswith("/") and asked.path.isprintable() and "\\" not in asked.path:
        return None
    return Refusal(HTTPStatus.BAD_REQUEST, "There is no such address.")


def _foreign_page(asked: Asked, door: Door) -> Refusal | None:
    text = asked.header("origin")
    if text is None:
        return None
    origin, host = parse_origin(text), parse_authority(asked.header("host") or "")
    if origin is None or host is None or not is_at(origin, host):
        return Refusal(HTTPStatus.FORBIDDEN, "Pages of other origins may not ask Dagster.")
    if origin.scheme == "http" and door.over_tls and host.name not in LOOPBACK_HOSTS:
        # Whoever sits in the network can write such a page.
        return Refusal(HTTPStatus.FORBIDDEN, "The page that asks came without TLS: open it by https.")
    return None


def _foreign_site(asked: Asked) -> Refusal | None:
    """By what browsers say of who asks; another port of this machine is the same site, and a stranger all the same."""
    if asked.header("sec-fetch-site") in {None, "same-origin", "none"} or _is_followed_link(asked):
        return None
    return Refusal(HTTPStatus.FORBIDDEN, "Pages of other sites may not ask Dagster.")


def _is_followed_link(asked: Asked) -> bool:
    return (
        asked.method == "GET"
        and not asked.is_websocket
        and asked.header("sec-fetch-site") in {"same-site", "cross-site"}
        and asked.header("sec-fetch-mode") == "navigate"
        and asked.header("sec-fetch-dest") == "document"
    )


def _wrong_kind(asked: Asked, forms_at: frozenset[str]) -> Refusal | None:
    if asked.method in NEVER:
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{asked.method} is not answered here.")
    if asked.method in READING:
        # Dagster would do by GET whatever the query says.
        asks_graphql = posixpath.normpath(asked.path).strip("/ ").lower() == GRAPHQL
        return (
            Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GraphQL is asked by POST, with application/json.")
            if asks_graphql
            else None
        )
    wanted = FORM if asked.path in forms_at else JSON
    if _media_type(asked) != wanted:
        return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The content type has to be {wanted}.")
    return None


def _media_type(asked: Asked) -> str:
    return (asked.header("content-type") or "").partition(";")[0].strip().lower()
