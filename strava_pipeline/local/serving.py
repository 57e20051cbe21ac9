"""Serves a Flask app with waitress, in settings that survive slow clients, until a signal ends it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from flask import Flask
from waitress.server import create_server

from strava_pipeline.errors import ConfigurationError

CONNECTIONS = 1000
IDLE_SECONDS = 10
CLEANUP_SECONDS = 2
HEADER_CAP_BYTES = 16 * 1024
BODY_CAP_BYTES = 64 * 1024


def serve_until_signalled(
    app: Flask, host: str, port: int, *, what: str, threads: int, on_listening: Callable[[str], None]
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP. ``on_listening`` gets the address, with the port taken for port 0.

    ``ConfigurationError`` names ``what`` could not listen.
    """
    with _ending_on_signals(), contextlib.suppress(KeyboardInterrupt):
        server = _listening(app, host, port, what, threads)
        on_listening(f"http://{host}:{server.effective_port}")
        server.run()
        server.close()


def _listening(app: Flask, host: str, port: int, what: str, threads: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  waitress has no types
    try:
        return create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            ident=None,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=CLEANUP_SECONDS,
            # select() ends at 1,024 open files.
            asyncore_use_poll=True,
            max_request_header_size=HEADER_CAP_BYTES,
            max_request_body_size=BODY_CAP_BYTES,
            expose_tracebacks=False,
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        raise ConfigurationError(f"{what} cannot listen on {host}:{port}: {error.strerror}") from None


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        raise KeyboardInterrupt

    # SIGINT as well: a shell starts what runs in its background with SIGINT ignored.
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
