"""Server for the guarded Dagster app, on a socket that listens already."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from strava_pipeline.dagster_guard.connections import GuardedProtocol
from strava_pipeline.local.open_files import raise_file_limit

# Less than the grace period of the supervisor, which then kills.
SHUTDOWN_SECONDS = 5
# The exit code of uvicorn's own command in this case.
NOT_STARTED = 3
CONNECTIONS = 1000
# Files of Dagster itself, such as code locations and databases; Dagster ends without free file descriptors.
OTHER_FILES = 500
# The event loop accepts so many connections at a time before it closes those beyond the limit.
BACKLOG = 128


def serve(app: ASGIApp, listener: socket.socket, on_listening: Callable[[str], None]) -> None:
    """Serve ``app`` until SIGTERM or SIGINT.

    ``on_listening`` is called with the URL once the server answers. ``SystemExit`` if the app does not start.
    """
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        # uvloop accepts all waiting connections before the limit is checked.
        loop="asyncio",
        backlog=BACKLOG,
        limit_concurrency=raise_file_limit(CONNECTIONS, OTHER_FILES),
        log_level="warning",
        # Where the process has a form for its log, uvicorn has none of its own.
        log_config=None if logging.root.handlers else uvicorn.config.LOGGING_CONFIG,
        # The query of an address may hold a secret.
        access_log=False,
        # Every user of this machine could claim any address and scheme in these headers.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
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
