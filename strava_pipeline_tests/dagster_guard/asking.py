"""Requests to a guard without a server, and answers of an app that is not Dagster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strava_pipeline.dagster_guard.asked import RequestHead, request_head
from strava_pipeline.dagster_guard.door import AccessSettings
from strava_pipeline.secret import Secret
from strava_pipeline.web.request_signature import HEADER, PATH, Signature

Headers = Sequence[tuple[str, str]]
HOST = ("Host", "127.0.0.1:3000")
HERE = "http://127.0.0.1:3000"
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
TOKEN = "a-token-of-the-operator"
KEY = Secret("by-which-our-own-processes-sign")
COOKIE = "strava_pipeline_operator"


def door(**changed: Any) -> AccessSettings:
    """A door on loopback with a token."""
    usual: dict[str, Any] = {
        "names": frozenset({"127.0.0.1", "localhost", "::1", "dagster.example.org"}),
        "over_tls": False, "cookie": COOKIE, "proof": "proof", "key": KEY, "token": Secret(TOKEN),
        "stands_open": False,
    }  # fmt: skip
    return AccessSettings(**(usual | changed))


def signed(body: bytes = b"", path: str = PATH) -> tuple[str, str]:
    """The header by which one of our processes is known."""
    return HEADER, str(Signature.of(body, KEY, path))


def scope_of(method: str, target: str, headers: Headers, *, websocket: bool = False) -> Scope:
    """As uvicorn makes it of a request."""
    path, _, query = target.partition("?")
    scope: Scope = {
        "type": "websocket" if websocket else "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 50_000),
        "extensions": {"websocket.http.response": {}},
    }
    if not websocket:
        scope["method"] = method
    return scope


def asked(method: str, target: str, *headers: tuple[str, str]) -> RequestHead:
    """A request to the usual host, with more headers."""
    return request_head(scope_of(method, target, (HOST, *headers)))


@dataclass
class Answer:
    """What came back; ``closed`` is a WebSocket's code."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    closed: int | None = None
    messages: list[Message] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known == name.lower()]
        assert len(found) < 2, found
        return found[0] if found else None

    def take(self, message: Message) -> None:
        self.messages.append(message)
        kind = message["type"].removeprefix("websocket.")
        if kind == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode(), value.decode("latin-1")) for name, value in message["headers"]]
        elif kind == "http.response.body":
            self.body += message.get("body", b"")
        elif kind == "close":
            self.closed = message.get("code", 1000)


async def gen_answer(
    app: ASGIApp,
    method: str,
    target: str,
    *headers: tuple[str, str],
    body: bytes | Sequence[bytes] = b"",
    websocket: bool = False,
) -> Answer:
    """Ask an app, with the usual host unless another is given; the body may come in parts."""
    answer = Answer()
    given = headers if any(name.lower() == "host" for name, _ in headers) else (HOST, *headers)
    waiting = [body] if isinstance(body, bytes) else list(body)

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        answer.take(message)

    await app(scope_of(method, target, given, websocket=websocket), receive, send)
    return answer


def ask(app: ASGIApp, method: str, target: str, *headers: tuple[str, str], **how: Any) -> Answer:
    """The same from a test that is no coroutine."""
    return asyncio.run(gen_answer(app, method, target, *headers, **how))


class Dagster:
    """Stands for Dagster's app: notes what reaches it, and opens itself to everybody."""

    def __init__(self) -> None:
        self.reached: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(scope)
        if scope["type"] == "http":
            self.bodies.append(await _body(receive))
            headers = [
                (b"access-control-allow-origin", b"*"),
                (b"Access-Control-Allow-Credentials", b"true"),
                (b"referrer-policy", b"unsafe-url"),
                (b"content-security-policy", b"script-src 'self'"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"dagster"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})


async def _body(receive: Receive) -> bytes:
    """All that comes until the end, or until whoever sends it is gone."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body", False):
            return body
