"""The guard's answers, and the headers that every answer carries, Dagster's included."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Dagster's UI frames its own notebooks, and nobody else's page frames anything of it.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
FRAMES = "frame-ancestors 'self'"
# By these a server lets pages of others read what it answers.
OPENING = "access-control-"
_STARTS = {"http.response.start", "websocket.http.response.start"}


def line(text: str, status: int) -> Response:
    """An answer that says one thing, to people and programs."""
    return PlainTextResponse(f"{text}\n", status, {"Cache-Control": "no-store"})


def page(html: str, status: int = HTTPStatus.OK) -> Response:
    """A page without scripts, whose forms go nowhere but here."""
    return HTMLResponse(html, status, {"Cache-Control": "no-store", "Content-Security-Policy": PAGE_POLICY})


async def deny(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the opening of a WebSocket, in Dagster's place."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # the server makes a 403 of it
    else:
        await answer(scope, receive, send)


def hardened(send: Send) -> Send:
    """A ``send`` whose answers carry :data:`HEADERS`, and nothing that opens them to pages of others."""

    async def harden(message: Message) -> None:
        if message["type"] in _STARTS:
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name in {name for name in headers if name.startswith(OPENING)}:
                del headers[name]
            headers.update(HEADERS)
            if headers.get("content-security-policy") != PAGE_POLICY:
                # Beside Dagster's own policy: both hold.
                headers.append("Content-Security-Policy", FRAMES)
            if "cache-control" not in headers:
                headers["Cache-Control"] = "private"
        await send(message)

    return harden
