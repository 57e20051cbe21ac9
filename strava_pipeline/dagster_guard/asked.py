"""The head of a request, as the rules of the guard check it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import Scope


@dataclass(frozen=True)
class RequestHead:
    """The head of an HTTP request, or of the opening of a WebSocket (with method ``GET``).

    ``path`` is decoded once, as routes see it; ``target`` is path and query as sent. ``headers`` maps each header's
    name in lower case to its values in order. ``address`` is the IP address of the other end of the connection.
    """

    is_websocket: bool
    method: str
    path: str
    target: str
    headers: Mapping[str, tuple[str, ...]]
    address: str

    def header(self, name: str) -> str | None:
        """Return the value of a header that occurs once; ``None`` if it is missing or occurs more than once."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None


def request_head(scope: Scope) -> RequestHead:
    """Return the request head of an ASGI scope of type ``http`` or ``websocket``."""
    headers: dict[str, tuple[str, ...]] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        headers[name] = (*headers.get(name, ()), raw_value.decode("latin-1"))
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    query = scope["query_string"]
    client = scope.get("client")
    return RequestHead(
        is_websocket=scope["type"] == "websocket",
        method=scope.get("method", "GET"),
        path=scope["path"],
        target=(path + (b"?" + query if query else b"")).decode("latin-1"),
        headers=headers,
        address=client[0] if client else "",
    )
