"""Serves a Flask app with waitress, in settings that survive slow clients, until a signal ends it."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from strava_pipeline.local.framing import StrictParser
from strava_pipeline.local.open_files import room_for_connections

CONNECTIONS = 4000
# What is open beside connections: the log, the database, calls to Dagster.
OTHER_FILES = 200
IDLE_SECONDS = 10
# From a request's first byte to its last: who sends a byte now and then is not idle.
REQUEST_SECONDS = 10
CLEANUP_SECONDS = 2
HEADER_CAP_BYTES = 16 * 1024
BODY_CAP_BYTES = 64 * 1024


def serve_until_signalled(
    app: Flask,
    listener: socket.socket,
    *,
    threads: int,
    on_listening: Callable[[str], None],
    keep_proxy_headers: bool = False,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP. ``on_listening`` gets the address.

    ``X-Forwarded-For`` and the like reach the app only with ``keep_proxy_headers``.
    """
    with _ending_on_signals(), contextlib.suppress(KeyboardInterrupt):
        server = _listening(app, listener, threads=threads, clear_untrusted_proxy_headers=not keep_proxy_headers)
        host, port = listener.getsockname()[:2]
        on_listening(f"http://{host}:{port}")
        server.run()
        server.close()


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    parser_class = StrictParser

    def writable(self) -> bool:
        """As waitress says, but not while a thread is sending: the loop would turn until that thread is done.

        What the thread cannot send it leaves here, and wakes the loop when its request is done.
        """
        # Not by asking waitress: the loop asks each connection in every turn, and there may be thousands.
        if not (self.total_outbufs_len or self.will_close or self.close_when_flushed):
            return False
        if not self.outbuf_lock.acquire(blocking=False):
            return False
        self.outbuf_lock.release()
        return True


class _Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    channel_class = _Channel

    def maintenance(self, now: float) -> None:
        """Close what is idle, and requests that take their time byte by byte."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            request = channel.request
            if request is not None and now - request.began_at > REQUEST_SECONDS and not channel.requests:
                channel.will_close = True


def _listening(app: Flask, listener: socket.socket, **adjustments: object) -> _Server:
    return _Server(
        app,
        _sock=listener,
        bind_socket=False,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        sockets=[listener],
        ident=None,
        connection_limit=room_for_connections(CONNECTIONS, OTHER_FILES),
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=CLEANUP_SECONDS,
        # select() ends at 1,024 open files.
        asyncore_use_poll=True,
        max_request_header_size=HEADER_CAP_BYTES,
        max_request_body_size=BODY_CAP_BYTES,
        expose_tracebacks=False,
        **adjustments,
    )


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
