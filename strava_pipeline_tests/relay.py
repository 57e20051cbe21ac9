"""Leads connections to one address on to another one, through the network of whoever starts it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

POLL_SECONDS = 0.05
BLOCK_BYTES = 65_536
Address = tuple[str, int]


class _Relay(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
    target: Address


class _Handler(StreamRequestHandler):
    server: _Relay

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as there:
            back = threading.Thread(target=copy, args=(there, self.connection), daemon=True)
            back.start()
            copy(self.connection, there)
            back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Send on what a connection brings, to its end."""
    with suppress(OSError):
        while block := source.recv(BLOCK_BYTES):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relay(listening: Address, target: Address) -> Iterator[None]:
    """Lead what comes to ``listening`` on to ``target``, for the time of a block."""
    with _Relay(listening, _Handler) as server:
        server.target = target
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_SECONDS})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
