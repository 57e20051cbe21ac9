"""A request as the rules see it: plain text, without a body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import Scope


@dataclass(frozen=True)
class Asked:
    """One HTTP request, or the opening of one WebSocket (its method is ``GET``).

    ``path`` is decoded once, as routes see it; ``target`` is path and query as they were sent. ``headers`` holds each
    header's values in their order, under its name in lower case. ``address`` is the other end of the connection.
    """

    is_websocket: bool
    method: str
    path: str
    target: str
    headers: Mapping[str, tuple[str, ...]]
    address: str

    def header(self, name: str) -> str | None:
        """The header's only value; ``None`` if there is none, or more than one."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None


def described(scope: Scope) -> Asked:
    """The request of an ASGI scope of type ``http`` or ``websocket``."""
    headers: dict[str, tuple[str, ...]] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        headers[name] = (*headers.get(name, ()), raw_value.decode("latin-1"))
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    query = scope["query_string"]
    client = scope.get("client")
    return Asked(
        is_websocket=scope["type"] == "websocket",
        method=scope.get("method", "GET"),
        path=scope["path"],
        target=(path + (b"?" + query if query else b"")).decode("latin-1"),
        headers=headers,
        address=client[0] if client else "",
    )
