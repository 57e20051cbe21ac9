"""Requests through a proxy: of Strava, of strangers, and of the operator's browser."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from http.cookies import SimpleCookie
from pathlib import Path

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.ports import free_port

PUBLIC_NAME, DAGSTER_NAME = "strava.example.org", "dagster.example.org"
# Both are this machine: the operator comes from one, everybody else from the other.
OPERATOR, STRANGER = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class Ports:
    """Where a proxy listens, and where the servers behind it do."""

    https: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    bridge: int = field(default_factory=free_port)
    dagster: int = field(default_factory=free_port)


@dataclass(frozen=True)
class Answer:
    """A proxy's answer; ``headers`` in order, their names in lower case."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that comes once at most."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for known, value in self.headers if known == name]

    @property
    def is_of_the_bridge(self) -> bool:
        """Whether the bridge gave it: each of its answers carries the request's id."""
        return self.header("x-request-id") is not None

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs: its name, its ports, its certificate, and the file of what it logs."""

    name: str
    ports: Ports
    certificate: str
    log: Path

    @property
    def context(self) -> ssl.SSLContext:
        """Trusts this proxy's certificate alone."""
        return ssl.create_default_context(cafile=self.certificate)

    def connected(self, source: str = STRANGER) -> socket.socket:
        """A connection to the port of TLS, without TLS yet."""
        return socket.create_connection(("127.0.0.1", self.ports.https), PATIENCE_SECONDS, (source, 0))

    def over_tls(self, name: str = PUBLIC_NAME, source: str = STRANGER) -> ssl.SSLSocket:
        """A connection with TLS; ``OSError`` if the proxy has no such name."""
        return self.context.wrap_socket(self.connected(source), server_hostname=name)

    def send(
        self,
        method: str,
        path: str,
        *,
        name: str = PUBLIC_NAME,
        source: str = STRANGER,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        """Send one request by https, its path as it is given here."""
        connection = HTTPSConnection(name, self.ports.https, timeout=PATIENCE_SECONDS, context=self.context)
        connection.sock = self.over_tls(name, source)
        return _ask(connection, method, path, headers, body)

    def send_plain(self, path: str, name: str = PUBLIC_NAME) -> Answer:
        """Send one GET by http."""
        connection = HTTPConnection(name, self.ports.http, timeout=PATIENCE_SECONDS)
        connection.sock = socket.create_connection(("127.0.0.1", self.ports.http), PATIENCE_SECONDS)
        return _ask(connection, "GET", path, None, None)


@dataclass
class Browser:
    """Keeps cookies of one name, and says where its pages come from, as browsers do."""

    proxy: Proxy
    name: str = PUBLIC_NAME
    source: str = OPERATOR
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """The origin of the pages under this name."""
        return f"https://{self.name}:{self.proxy.ports.https}"

    def get(self, path: str) -> Answer:
        """Open a page."""
        return self._send("GET", path, {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"})

    def post(self, path: str, body: str, *, kind: str = "application/x-www-form-urlencoded", **headers: str) -> Answer:
        """Send a form, or what a script sends, from a page of this name unless the headers say otherwise."""
        usual = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", "Content-Type": kind}
        return self._send("POST", path, usual | headers, body.encode())

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        sent = {**headers, "Cookie": self.cookie} if self.cookies else headers
        answer = self.proxy.send(method, path, name=self.name, source=self.source, headers=sent, body=body)
        for text in answer.all("set-cookie"):
            for name, morsel in SimpleCookie(text).items():
                assert morsel["secure"], text
                self.cookies[name] = morsel.value
        return answer

    @property
    def cookie(self) -> str:
        """The header with all cookies."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def _ask(
    connection: HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str] | None,
    body: bytes | Iterator[bytes] | None,
) -> Answer:
    try:
        connection.request(method, path, body, dict(headers or {}), encode_chunked=True)
        answer = connection.getresponse()
        found = [(header.lower(), value) for header, value in answer.getheaders()]
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()
