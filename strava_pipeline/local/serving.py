"""Server for a Flask app: waitress, with limits against slow and many clients."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from strava_pipeline.local.framing import StrictParser
from strava_pipeline.local.large_bodies import BUSY, Admitted, Head, LargeBodies, Refused
from strava_pipeline.local.open_files import raise_file_limit

CONNECTIONS = 4000
# Of a server beside the first: few, since they are among the files that the first one leaves.
CONNECTIONS_BESIDE = 50
# Files besides connections: the log, the database, requests to Dagster.
OTHER_FILES = 200
IDLE_SECONDS = 10
# From a request's first byte to its last, since a client that sends single bytes is not idle.
REQUEST_SECONDS = 10
CLEANUP_SECONDS = 2
HEADER_CAP_BYTES = 16 * 1024
BODY_CAP_BYTES = 64 * 1024
# Of a large body that is read at once: with waitress' 8 KiB, the event loop would turn 512 times for 4 MiB.
LARGE_READ_BYTES = 256 * 1024
# In the environment of a request: when it was complete, and began to wait for a thread (monotonic clock, s).
COMPLETE_AT = "strava_pipeline.complete_at"


def serve_until_signalled(
    app: Flask,
    listener: socket.socket,
    *,
    threads: int,
    on_listening: Callable[[str], None],
    keep_proxy_headers: bool = False,
    large_bodies: LargeBodies | None = None,
) -> None:
    """Serve ``app`` until SIGTERM, SIGINT or SIGHUP; ``on_listening`` is called with the URL.

    ``X-Forwarded-For`` and similar headers reach the app only with ``keep_proxy_headers``. ``large_bodies`` says which
    requests may have more than :data:`BODY_CAP_BYTES`, and take longer than :data:`REQUEST_SECONDS`.
    """
    with _interrupt_on_signals(), contextlib.suppress(KeyboardInterrupt):
        server = _create_server(
            app,
            listener,
            threads=threads,
            connections=raise_file_limit(CONNECTIONS, OTHER_FILES),
            clear_untrusted_proxy_headers=not keep_proxy_headers,
        )
        server.large_bodies = large_bodies
        host, port = listener.getsockname()[:2]
        on_listening(f"http://{host}:{port}")
        server.run()
        server.close()


@contextlib.contextmanager
def serve_beside(app: Flask, listener: socket.socket, *, threads: int) -> Iterator[None]:
    """Serve ``app`` during the block, in threads of its own, to a few clients at a time."""
    server = _create_server(app, listener, threads=threads, connections=CONNECTIONS_BESIDE)
    loop = threading.Thread(target=server.run, name="serve-beside", daemon=True)
    loop.start()
    try:
        yield
    finally:
        server.leave_loop()
        loop.join()
        server.task_dispatcher.shutdown()
        for channel in [*server.active_channels.values()]:
            channel.handle_close()
        server.close()


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    def get_environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = super().get_environment()
        environment[COMPLETE_AT] = self.request.complete_at
        return environment


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    task_class = _Task

    def parser_class(self, adj: Any) -> StrictParser:
        """Make the parser of the next request, as waitress calls it."""
        server: _Server = self.server
        return StrictParser(adj, server.judge)

    def recv(self, most: int) -> bytes:
        """Receive at most so many bytes, more of a large body."""
        is_large = self.request is not None and self.request.admitted is not None
        received: bytes = super().recv(max(most, LARGE_READ_BYTES) if is_large else most)
        return received

    def writable(self) -> bool:
        """Whether this connection has something to send, and no thread is sending it.

        While a thread sends, waitress' own method would keep the event loop busy. The thread leaves here what it cannot
        send, and wakes the loop afterwards.
        """
        # Waitress' own method is slower, and the loop calls this for each of perhaps thousands of connections.
        if not (self.total_outbufs_len or self.will_close or self.close_when_flushed):
            return False
        if not self.outbuf_lock.acquire(blocking=False):
            return False
        self.outbuf_lock.release()
        return True


class _Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    channel_class = _Channel
    large_bodies: LargeBodies | None = None

    def judge(self, head: Head) -> Admitted | Refused | None:
        """Judge a request by its head; a large body waits until there is room for it beside the others."""
        if self.large_bodies is None:
            return None
        verdict = self.large_bodies.judge(head)
        if not isinstance(verdict, Admitted):
            return verdict
        # Looked up, not counted: a connection can end at any moment, by this thread or another one.
        purposes = [
            request.admitted.purpose
            for channel in [*self.active_channels.values()]
            for request in [channel.request, *channel.requests]
            if request is not None and request.admitted is not None
        ]
        is_busy = len(purposes) >= self.large_bodies.most_at_once or verdict.purpose in purposes
        return BUSY if is_busy else verdict

    def leave_loop(self) -> None:
        """Let :meth:`run` return in the thread that called it."""
        # A loop ends when it has nothing to look at. The call is made by the loop, in its own thread.
        self.trigger.pull_trigger(self._map.clear)

    def maintenance(self, now: float) -> None:
        """Close idle connections, and those whose request takes longer than :data:`REQUEST_SECONDS`."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            request = channel.request
            if request is not None and not channel.requests and now - request.began_at > _seconds_for(request):
                channel.will_close = True


def _seconds_for(request: StrictParser) -> float:
    """How long a request may take to arrive."""
    return REQUEST_SECONDS if request.admitted is None else request.admitted.seconds


def _create_server(
    app: Flask, listener: socket.socket, *, connections: int = CONNECTIONS, **adjustments: object
) -> _Server:
    return _Server(
        app,
        _sock=listener,
        bind_socket=False,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        sockets=[listener],
        ident=None,
        connection_limit=connections,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=CLEANUP_SECONDS,
        # select() fails with more than 1,024 open files.
        asyncore_use_poll=True,
        max_request_header_size=HEADER_CAP_BYTES,
        max_request_body_size=BODY_CAP_BYTES,
        expose_tracebacks=False,
        **adjustments,
    )


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        raise KeyboardInterrupt

    # SIGINT too: a shell starts its background jobs with SIGINT ignored.
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
