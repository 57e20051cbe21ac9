"""Serves the bridge with waitress, in settings that survive slow clients."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from flask import Flask
from sqlalchemy import Engine
from waitress.server import create_server

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from webhook_bridge.app import WRITERS, create_app
from webhook_bridge.dispatcher import Dispatcher

# One delivery each, and a health check beside.
THREADS = WRITERS + 1


def serve(settings: Settings, engine: Engine, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; the dispatcher runs beside."""
    dispatcher = Dispatcher(settings, engine)
    server = _listening(create_app(settings, engine, dispatcher.wake, lambda: dispatcher.is_running), host, port)
    dispatcher.start()
    print(f"bridge listening on http://{host}:{server.effective_port}", flush=True)  # noqa: T201  tells which port was taken
    with _ending_on_signals(), contextlib.suppress(KeyboardInterrupt):
        server.run()
    server.close()
    dispatcher.stop()


def _listening(app: Flask, host: str, port: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  waitress has no types
    try:
        return create_server(
            app,
            host=host,
            port=port,
            threads=THREADS,
            ident=None,
            connection_limit=1000,
            channel_timeout=10,
            cleanup_interval=2,
            asyncore_use_poll=True,
            max_request_header_size=16 * 1024,
            max_request_body_size=64 * 1024,
            expose_tracebacks=False,
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        raise ConfigurationError(f"the bridge cannot listen on {host}:{port}: {error.strerror}") from None


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
