"""Connections to the guard: no more than there is room for, and none that is held without a request.

Whoever is on this machine can connect. A connection costs a file, and when these run out Dagster ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

from httptools import HttpParserInvalidURLError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_CAP_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's, which itself knows no end of a request's head.

    ``limit_concurrency`` of uvicorn's settings, which has to be set, is one more than may be open, WebSockets included:
    beyond it uvicorn would refuse the requests of those that are.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_head = False
        self._head_bytes = 0
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Close at once what is too much."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self.connections.discard(self)
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is awaited."""
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
        """A request begins."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """A request's head is here: from now on it is up to the app."""
        if not self.url.startswith(b"/"):
            # An address with a host of its own, which would count before the header that the guard looks at.
            raise HttpParserInvalidURLError("not a path")
        super().on_headers_complete()
        self._is_in_head = False
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request's head, whatever of this one's body is still to come."""
        super().on_response_complete()
        if self.cycle.response_complete:
            # Nobody will read it.
            self.cycle.body = bytearray()
            self._await_head()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._end_unless_still_sending)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_unless_still_sending(self) -> None:
        # A large answer may go out slowly.
        if 0 < self.transport.get_write_buffer_size() < self._unsent_bytes:
            self._await_head()
        else:
            self.transport.abort()
