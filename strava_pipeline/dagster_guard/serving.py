"""Serves an ASGI app at a listening socket until a signal ends it, and says where once it answers there."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from strava_pipeline.dagster_guard.connections import GuardedProtocol
from strava_pipeline.local.open_files import room_for_connections

# Less than a supervisor waits before it kills.
ENDING_SECONDS = 5
# As uvicorn's own command ends then.
NOT_STARTED = 3
CONNECTIONS = 1000
# What Dagster has open, code locations and databases; without a file to spare it ends.
OTHER_FILES = 500
# As many are accepted at a time, before those that are too much are closed.
BACKLOG = 128


def serve(app: ASGIApp, listener: socket.socket, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. ``on_listening`` gets the address; ``SystemExit`` if the app does not start."""
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        # uvloop accepts whatever comes before it looks at any of it.
        loop="asyncio",
        backlog=BACKLOG,
        limit_concurrency=room_for_connections(CONNECTIONS, OTHER_FILES),
        log_level="warning",
        # Addresses may hold secrets in their queries.
        access_log=False,
        # Whoever is on this machine could claim any address, and any scheme.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )
    server = _Server(config, lambda: on_listening(f"http://{host}:{port}"))
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])
    if not server.started:
        sys.exit(NOT_STARTED)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()
