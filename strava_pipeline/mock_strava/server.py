"""Serves the mock with waitress, on this machine only."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from flask import Flask
from waitress.server import create_server

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.mock_strava.state import EXTENSION, Mock

HOST = "127.0.0.1"
THREADS = 16


def serve(app: Flask, port: int, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``on_listening`` gets the address, with the port that was taken for port 0."""
    mock: Mock = app.extensions[EXTENSION]
    with _ending_on_signals(), contextlib.suppress(KeyboardInterrupt):
        server = _listening(app, port)
        on_listening(f"http://{HOST}:{server.effective_port}")
        server.run()
        server.close()
    mock.deliveries.stop()


def _listening(app: Flask, port: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  waitress has no types
    try:
        return create_server(
            app,
            host=HOST,
            port=port,
            threads=THREADS,
            ident=None,
            connection_limit=1000,
            asyncore_use_poll=True,
        )
    except OSError as error:
        raise ConfigurationError(f"the mock Strava cannot listen on {HOST}:{port}: {error.strerror}") from None


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        raise KeyboardInterrupt

    # SIGINT as well: a shell starts what runs in its background with SIGINT ignored.
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
