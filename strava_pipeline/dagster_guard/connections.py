"""Limits for connections to the guard: how many may be open, and how long one may wait without a request.

Every user of this machine can connect. Each connection takes a file descriptor, and Dagster ends without free ones.
"""

from __future__ import annotations

import asyncio
from typing import Any

from httptools import HttpParserInvalidURLError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_CAP_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits for the time and the size of a request's head.

    uvicorn's setting ``limit_concurrency`` must be set to one more than the connections that may be open, WebSockets
    included: with as many as the setting, uvicorn would refuse requests of all open connections.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_head = False
        self._head_bytes = 0
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Close the new connection at once if too many are open."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self.connections.discard(self)
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline of the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Close a connection whose request has too long a head."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_CAP_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Count the bytes of the head from here."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Cancel the deadline: the head is complete, and the app decides how long the rest may take."""
        if not self.url.startswith(b"/"):
            # An absolute address names a host, which would count more than the Host header that the guard checks.
            raise HttpParserInvalidURLError("not a path")
        super().on_headers_complete()
        self._is_in_head = False
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """Start the deadline for the next request's head, also if a rest of this request's body is still to come."""
        super().on_response_complete()
        if self.cycle.response_complete:
            # The app has answered and will not read the rest.
            self.cycle.body = bytearray()
            self._await_head()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._close_unless_sending)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_unless_sending(self) -> None:
        # A large answer may still be on its way to a slow client.
        if 0 < self.transport.get_write_buffer_size() < self._unsent_bytes:
            self._await_head()
        else:
            self.transport.abort()
