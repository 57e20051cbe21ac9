"""A proxy for HTTPS that leads some hosts to a server on this machine, and refuses all others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

from strava_pipeline_tests.relay import copy

POLL_SECONDS = 0.05


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    hosts: Collection[str] = ()
    port: int = 0


class _Handler(StreamRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        wanted = self.rfile.readline().split()[1].decode().partition(":")[0]
        while self.rfile.readline().strip():
            pass
        if wanted not in self.server.hosts:
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.server.port)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(there, self.connection), daemon=True)
            back.start()
            copy(self.connection, there)
            back.join()


@contextmanager
def connect_proxy(hosts: Collection[str], port: int) -> Iterator[str]:
    """The address of a proxy that leads these hosts to the server at ``port``."""
    with _Proxy(("127.0.0.1", 0), _Handler) as proxy:
        proxy.hosts, proxy.port = hosts, port
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": POLL_SECONDS})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()
