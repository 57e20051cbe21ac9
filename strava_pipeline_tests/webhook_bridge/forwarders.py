"""What may stand before the bridge and leaves no trace: each takes connections here and passes them on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

PIECE_BYTES = 65536
ChangeHead = Callable[[bytes], bytes]


@contextmanager
def tcp_forwarder(port: int) -> Iterator[int]:
    """As ``ssh -R``, stunnel or socat: bytes there and back. Gives the port at which it listens."""
    with _forwarder(port, lambda head: head) as listening:
        yield listening


@contextmanager
def http_forwarder(port: int) -> Iterator[int]:
    """As nginx with a bare ``proxy_pass``: its own Host, no connection kept, and not one header of its own."""

    def as_nginx(head: bytes) -> bytes:
        first, *headers = head.split(b"\r\n")
        kept = [line for line in headers if line and not line.lower().startswith((b"host:", b"connection:"))]
        return b"\r\n".join([first, b"Host: 127.0.0.1:%d" % port, b"Connection: close", *kept, b"", b""])

    with _forwarder(port, as_nginx) as listening:
        yield listening


class _Server(ThreadingTCPServer):
    # Connections that somebody keeps open do not hold up the test's end.
    daemon_threads = True


@contextmanager
def _forwarder(port: int, change: ChangeHead) -> Iterator[int]:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as behind:
                back = threading.Thread(target=_pump, args=(behind, self.request))
                back.start()
                head, body = _head(self.request)
                behind.sendall(change(head) + body)
                _pump(self.request, behind)
                back.join()

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _head(source: socket.socket) -> tuple[bytes, bytes]:
    """A request's head with its empty line, and what came with it of the body."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = source.recv(PIECE_BYTES)
        if not piece:
            return received, b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def _pump(source: socket.socket, target: socket.socket) -> None:
    # Either side may have had enough.
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
