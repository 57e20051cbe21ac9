"""Serves the mock, on this machine only."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.serving import serve_until_signalled
from strava_pipeline.mock_strava.state import EXTENSION, Mock

HOST = "127.0.0.1"
# Faults may keep many a call waiting, and others are still to be answered.
THREADS = 32


def serve(app: Flask, port: int, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``on_listening`` gets the address, with the port that was taken for port 0."""
    mock: Mock = app.extensions[EXTENSION]
    listener = open_listener(HOST, port, "the mock Strava")
    serve_until_signalled(app, listener, threads=THREADS, on_listening=on_listening)
    mock.deliveries.stop()
