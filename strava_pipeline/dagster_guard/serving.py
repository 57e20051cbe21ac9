"""Serves an ASGI app on loopback until a signal ends it, and says where once it listens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from socket import socket

import uvicorn
from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
# Less than a supervisor waits before it kills.
ENDING_SECONDS = 5
# As uvicorn's own command ends then.
NOT_STARTED = 3


def serve(app: ASGIApp, port: int, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. ``on_listening`` gets the address; ``SystemExit`` if it cannot listen."""
    config = uvicorn.Config(
        app,
        host=LOOPBACK,
        port=port,
        log_level="warning",
        # Addresses may hold secrets in their queries.
        access_log=False,
        # Whoever is on this machine could claim any address, and any scheme.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )
    server = _Server(config, lambda: on_listening(f"http://{LOOPBACK}:{port}"))
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(NOT_STARTED)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()
