"""A real HTTP server on this machine that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

# How long a dripping server rests between two pieces: far below every deadline in the tests.
DRIP_SECONDS = 0.02
# By so much a busy machine may miss a deadline; what drips does so for longer.
LATE_SECONDS = 10


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Reply:
    """A whole and well-formed answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Bytes on the wire, piece by piece and slowly; then the line stays open until the test ends, or is cut."""

    pieces: Callable[[], Iterator[bytes]]
    hang_up: bool = False


Answer = Reply | Raw


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; ``X_Name=`` becomes the header ``X-Name``."""
    return Reply(status, json.dumps(body).encode(), {name.replace("_", "-"): value for name, value in headers.items()})


UNAUTHORIZED = reply(
    {"message": "Authorization Error", "errors": [{"resource": "Athlete", "field": "access_token", "code": "invalid"}]},
    401,
)
INACTIVE = reply(
    {"message": "Forbidden", "errors": [{"resource": "Application", "field": "Status", "code": "Inactive"}]}, 403
)


class Loopback:
    """Answers with what ``answer`` gives for a request."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda _: Reply()
        self.ending = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def bearers(self) -> list[str]:
        """The tokens with which it was asked."""
        return [asked.headers["Authorization"].removeprefix("Bearer ") for asked in self.asked]

    def answers(self, *answers: Answer) -> None:
        """These in turn, the last one for ever."""
        waiting = list(answers)
        self.answer = lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def speak_tls(self, certificate: str, key: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    loopback: Loopback

    def handle_error(self, *_: Any) -> None:
        """A client that goes away, or does not trust us, is no news for the test's output."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two packets: the second must not wait for the first one's receipt.
    disable_nagle_algorithm = True
    server: _Server

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, dict(self.headers), body)
        self.server.loopback.asked.append(asked)
        match self.server.loopback.answer(asked):
            case Reply() as whole:
                self._send_whole(whole)
            case Raw() as raw:
                self._drip(raw)

    do_GET = do_POST = do_DELETE = _respond  # noqa: N815  the names are http.server's

    def _send_whole(self, whole: Reply) -> None:
        self.send_response(whole.status)
        for name, value in whole.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(whole.body)))
        self.end_headers()
        self.wfile.write(whole.body)

    def _drip(self, raw: Raw) -> None:
        self.close_connection = True
        ending = self.server.loopback.ending
        for piece in raw.pieces():
            self.wfile.write(piece)
            if ending.wait(DRIP_SECONDS):
                return
        if not raw.hang_up:
            ending.wait()

    def log_message(self, *_: Any) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Tue, 03 Nov 2026 10:20:30 GMT"
