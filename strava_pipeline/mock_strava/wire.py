"""Faults of the connection, which a correct server cannot cause: the answer takes over the connection.

Each such answer has a thread of its own, so that a hundred hanging calls do not block the mock.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from os import dup
from typing import TYPE_CHECKING, Any, Self

from flask import Response
from waitress.channel import ClientDisconnected

from strava_pipeline.mock_strava.fault_scripts import FaultScript, Kind

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SEND_SECONDS = 60.0
# A slow answer is sent in steps that take at least so long.
STEP_SECONDS = 0.05
NO_LINGER = struct.pack("ii", 1, 0)


class WireResponse(Response):
    """An answer that is written to the socket as its fault requires; then the connection ends."""

    script: FaultScript

    @classmethod
    def of(cls, response: Response, script: FaultScript) -> Self:
        """Return a copy of ``response`` that is sent with the fault of ``script``."""
        wired = cls(response.get_data(), response.status_code, response.headers)
        wired.script = script
        return wired

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Take over the connection and answer in a thread; 501 on servers other than waitress."""
        connection = _take_connection(environ)
        if connection is None:
            told = Response("this fault needs the mock's own server\n", HTTPStatus.NOT_IMPLEMENTED)
            return told(environ, start_response)
        head, body = self._head(environ), self.get_data()
        threading.Thread(
            target=_write_answer, args=(connection, self.script, head, body), name="mock-wire", daemon=True
        ).start()
        # This makes the server close its handle of the connection without an answer.
        raise ClientDisconnected

    def _head(self, environ: WSGIEnvironment) -> bytes:
        headers = self.get_wsgi_headers(environ)
        if self.script.fault is Kind.CUT:
            # More bytes than are sent.
            headers["Content-Length"] = str(max(len(self.get_data()), self.script.size + 1))
        headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


def _take_connection(environ: WSGIEnvironment) -> socket.socket | None:
    """Return a second handle of a request's connection, which stays open when waitress closes its own."""
    # waitress gives access to the connection in this way only.
    asks_for_channel: Any = environ.get("waitress.client_disconnected")
    if asks_for_channel is None:
        return None
    connection = socket.socket(fileno=dup(asks_for_channel.__self__.socket.fileno()))
    connection.settimeout(SEND_SECONDS)
    return connection


def _write_answer(connection: socket.socket, script: FaultScript, head: bytes, body: bytes) -> None:
    # The client may close the connection at any time.
    with connection, contextlib.suppress(OSError):
        _WRITERS.get(script.fault, _whole)(connection, script, head, body)


def _whole(connection: socket.socket, _: FaultScript, head: bytes, body: bytes) -> None:
    connection.sendall(head + body)
    connection.shutdown(socket.SHUT_WR)


def _cut(connection: socket.socket, script: FaultScript, head: bytes, body: bytes) -> None:
    _whole(connection, script, head, body[: script.size])


def _drip(connection: socket.socket, script: FaultScript, head: bytes, body: bytes) -> None:
    at_once, slowly = (b"", head + body) if script.part == "headers" else (head, body)
    connection.sendall(at_once)
    step = math.ceil(script.bytes_per_s * STEP_SECONDS)
    for start in range(0, len(slowly), step):
        connection.sendall(slowly[start : start + step])
        time.sleep(step / script.bytes_per_s)
    connection.shutdown(socket.SHUT_WR)


def _hang(connection: socket.socket, *_: object) -> None:
    """Send nothing until the client closes the connection."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while poll.poll():
        if not connection.recv(4096):
            return


def _reset(connection: socket.socket, *_: object) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


def _close_silently(connection: socket.socket, *_: object) -> None:
    connection.shutdown(socket.SHUT_WR)


_WRITERS: dict[Kind, Callable[[socket.socket, FaultScript, bytes, bytes], None]] = {
    Kind.CUT: _cut,
    Kind.DRIP: _drip,
    Kind.HANG: _hang,
    Kind.RESET: _reset,
    Kind.REPLY_LOST: _close_silently,
}
