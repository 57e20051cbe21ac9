"""Server of the mock, on loopback only."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask

from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.serving import serve_until_signalled
from strava_pipeline.mock_strava.state import EXTENSION, Mock

HOST = "127.0.0.1"
# Faults can delay many calls, and others must still be answered.
THREADS = 32


def serve(app: Flask, port: int, on_listening: Callable[[str], None]) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; ``on_listening`` is called with the URL. Port 0 means any free port."""
    mock: Mock = app.extensions[EXTENSION]
    listener = open_listener(HOST, port, "the mock Strava")
    # On a busy machine it warns of each request that comes before the threads have begun to wait for one.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # noqa: TID251  only its level is set
    serve_until_signalled(app, listener, threads=THREADS, on_listening=on_listening)
    mock.deliveries.stop()
