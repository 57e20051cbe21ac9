"""The guard's answers, and the headers that every answer carries, Dagster's included."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Dagster's UI shows its own notebooks in frames; pages of other origins may not frame it.
SECURITY_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
FRAME_POLICY = "frame-ancestors 'self'"
# With these headers a server lets pages of other origins read its answers.
CORS_PREFIX = "access-control-"
_STARTS = {"http.response.start", "websocket.http.response.start"}


def text_answer(text: str, status: int) -> Response:
    """Return a plain answer with one line of text, for people and programs."""
    return PlainTextResponse(f"{text}\n", status, {"Cache-Control": "no-store"})


def html_answer(html: str, status: int = HTTPStatus.OK) -> Response:
    """Return a page that runs no scripts, and whose forms can only be sent to this server."""
    return HTMLResponse(html, status, {"Cache-Control": "no-store", "Content-Security-Policy": PAGE_POLICY})


async def deny(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the guard's answer to a request or to the opening of a WebSocket, so that Dagster never sees it."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # the server turns this into a 403
    else:
        await answer(scope, receive, send)


def with_security_headers(send: Send) -> Send:
    """Return a ``send`` that adds :data:`SECURITY_HEADERS` to each answer and removes headers of CORS."""

    async def harden(message: Message) -> None:
        if message["type"] in _STARTS:
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name in {name for name in headers if name.startswith(CORS_PREFIX)}:
                del headers[name]
            headers.update(SECURITY_HEADERS)
            if headers.get("content-security-policy") != PAGE_POLICY:
                # Browsers apply this policy and Dagster's own one.
                headers.append("Content-Security-Policy", FRAME_POLICY)
            if "cache-control" not in headers:
                headers["Cache-Control"] = "private"
        await send(message)

    return harden
