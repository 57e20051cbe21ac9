"""A body larger than others' is let in, or refused, by the head of its request: none of it is read before."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus

import pytest
from flask import Flask, request
from waitress.adjustments import Adjustments

from strava_pipeline.local import serving
from strava_pipeline.local.framing import StrictParser
from strava_pipeline.local.large_bodies import Admitted, Head, Refused
from strava_pipeline.local.listeners import open_listener
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

ADJUSTMENTS = Adjustments(
    max_request_header_size=serving.HEADER_CAP_BYTES, max_request_body_size=serving.BODY_CAP_BYTES
)
MOST_BYTES = 1_000_000
SECONDS = 2.0


class Guests:
    """Lets in whoever names themselves, to ``/large``, for ``seconds``."""

    most_at_once = 2
    seconds: float = PATIENCE_SECONDS

    def judge(self, head: Head) -> Admitted | Refused | None:
        if head.path != "/large":
            return None
        name = head.headers.get("GUEST", "")
        if not name or head.length is None:
            return Refused(HTTPStatus.FORBIDDEN, "nobody knows you")
        return Admitted(name, MOST_BYTES, self.seconds)


def put(length: int | None, guest: str = "", path: str = "/large", expects: str = "") -> bytes:
    """The head of a request."""
    body = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    name = b"Guest: %s\r\n" % guest.encode() if guest else b""
    return b"PUT %s HTTP/1.1\r\nHost: bridge\r\n%s%s%s\r\n\r\n" % (path.encode(), expects.encode(), name, body)


def parsed(stream: bytes, packet: int) -> StrictParser:
    """The first request of a stream, as it stands once nothing more comes."""
    parser = StrictParser(ADJUSTMENTS, Guests().judge)
    for start in range(0, len(stream), packet):
        data = stream[start : start + packet]
        while data and not parser.completed:
            data = data[parser.received(data) :]
    return parser


@pytest.mark.parametrize("packet", [1, 7, 65536])
def test_a_stranger_is_refused_by_the_head_alone(packet: int) -> None:
    refused = parsed(put(500_000) + b"x" * 100, packet)
    assert refused.completed
    assert refused.error.code == 403
    assert refused.get_body_stream().read() == b""


@pytest.mark.parametrize("packet", [7, 65536])
def test_a_guest_has_the_cap_that_was_given(packet: int) -> None:
    body = b"y" * MOST_BYTES
    taken = parsed(put(MOST_BYTES, "ada") + body, packet)
    assert (taken.completed, taken.error) == (True, None)
    assert taken.get_body_stream().read() == body
    assert parsed(put(MOST_BYTES + 1, "ada") + b"y", packet).error.code == 413


def test_without_a_length_nobody_is_a_guest() -> None:
    assert parsed(put(None, "ada") + b"5\r\nhello\r\n", 65536).error.code == 403


def test_elsewhere_the_cap_of_all_others_holds() -> None:
    assert parsed(put(70_000, "ada", "/small"), 65536).error.code == 413
    small = parsed(put(5, "ada", "/small") + b"hello", 65536)
    assert (small.error, small.admitted) == (None, None)


@contextmanager
def served(app: Flask) -> Iterator[int]:
    """An app with its guests, at a port."""
    listener = open_listener("127.0.0.1", 0, "a test")
    server = serving._create_server(app, listener, threads=4)
    server.adj.asyncore_loop_timeout = 0.05
    server.large_bodies = Guests()
    loop = threading.Thread(target=server.run, daemon=True)
    loop.start()
    yield listener.getsockname()[1]
    server.leave_loop()
    loop.join()
    server.task_dispatcher.shutdown()
    for channel in [*server.active_channels.values()]:
        channel.handle_close()
    server.close()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(serving, "CLEANUP_SECONDS", 0)
    app = Flask(__name__)

    @app.put("/large")
    def take() -> str:
        return str(len(request.environ["wsgi.input"].read()))

    @app.get("/small")
    def small() -> str:
        return "small"

    with served(app) as port:
        yield port


def beginning(port: int, guest: str, held: ExitStack) -> socket.socket:
    """A connection by which a body is on its way, let in by the server, of which not all comes."""
    # A body before it is there until the server's thread has ended, a moment after its answer.
    return eventually(lambda: _let_in(port, guest, held), f"a body of {guest} is let in")


def _let_in(port: int, guest: str, held: ExitStack) -> socket.socket | None:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    connection.sendall(put(500_000, guest, expects="Expect: 100-continue\r\n"))
    if not connection.recv(100).startswith(b"HTTP/1.1 100 "):
        connection.close()
        return None
    connection.sendall(b"x" * 1000)
    return held.enter_context(connection)


def status_of(port: int, guest: str) -> int:
    """What a whole body of a guest is answered."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.putrequest("PUT", "/large")
        connection.putheader("Guest", guest)
        connection.putheader("Content-Length", "6")
        connection.endheaders()
        connection.send(b"a body")
        return connection.getresponse().status


def test_a_stranger_waits_for_no_body_to_be_sent(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)) as connection:
        connection.sendall(put(900_000))
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


def test_so_many_bodies_arrive_at_once_and_one_for_each_purpose(port: int) -> None:
    assert status_of(port, "ada") == 200
    with ExitStack() as held:
        beginning(port, "ada", held)
        assert status_of(port, "ada") == 503  # the second body for one purpose
        assert status_of(port, "bob") == 200
        beginning(port, "bob", held)
        assert status_of(port, "eve") == 503  # the third body at once
        # Who sends no large body notices nothing.
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("GET", "/small")
            assert connection.getresponse().read() == b"small"
    eventually(lambda: status_of(port, "eve") == 200, "a body whose sender is gone holds nobody up")


def test_a_body_has_the_time_that_was_given(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guests, "seconds", SECONDS)
    with ExitStack() as held:
        slow = beginning(port, "ada", held)
        began = time.monotonic()
        # Sends now and then, so it is not idle.
        slow.settimeout(0.05)
        ended = None
        while ended is None:
            try:
                slow.sendall(b"x")
                ended = slow.recv(1)
            except TimeoutError:
                assert time.monotonic() - began < PATIENCE_SECONDS
            except OSError:
                ended = b""
        assert time.monotonic() - began > SECONDS / 2
