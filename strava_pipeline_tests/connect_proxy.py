"""A proxy for HTTPS that leads some hosts to a server on this machine, and refuses all others."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer

from strava_pipeline_tests.relay import copy

POLL_SECONDS = 0.05


@dataclass
class ConnectProxy:
    """Leads ``hosts`` to the server at ``port``; ``login``: user:password that it asks for, if any.

    ``asked`` has the heads of all requests to it. One that ``drips`` answers with a byte now and then, for ever.
    """

    hosts: Collection[str]
    port: int
    login: str | None = None
    drips: bool = False
    asked: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def url(self) -> str:
        """What belongs into ``HTTPS_PROXY``."""
        return f"http://{self.address}" if self.login is None else f"http://{self.login}@{self.address}"


class _Server(ThreadingTCPServer):
    daemon_threads = True
    proxy: ConnectProxy

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news for the test's output."""


class _Handler(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        head = [self.rfile.readline()]
        while (line := self.rfile.readline()).strip():
            head.append(line)
        proxy = self.server.proxy
        proxy.asked.append(b"".join(head).decode())
        if proxy.drips:
            while True:
                self.wfile.write(b"H")
                time.sleep(POLL_SECONDS)
        if proxy.login is not None and base64.b64encode(proxy.login.encode()).decode() not in proxy.asked[-1]:
            self.wfile.write(b"HTTP/1.1 407 Who are you?\r\n\r\n")
            return
        method, wanted, *_ = proxy.asked[-1].split()
        if method != "CONNECT" or wanted.partition(":")[0] not in proxy.hosts:
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", proxy.port)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(there, self.connection), daemon=True)
            back.start()
            copy(self.connection, there)
            back.join()


@contextmanager
def connect_proxy(
    hosts: Collection[str], port: int, login: str | None = None, *, drips: bool = False
) -> Iterator[ConnectProxy]:
    """A proxy at work."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        host, number = server.server_address[:2]
        server.proxy = ConnectProxy(hosts, port, login, drips, address=f"{host!s}:{number}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_SECONDS})
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()
