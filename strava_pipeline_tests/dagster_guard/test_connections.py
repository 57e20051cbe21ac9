"""Connections to the guard: how many there may be, and how long one may be held without a request."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from strava_pipeline.dagster_guard import connections
from strava_pipeline.dagster_guard.connections import GuardedProtocol
from strava_pipeline_tests.eventually import eventually

PATIENCE_SECONDS = 60
HEAD_SECONDS = 0.6
CONNECTIONS = 5
LARGE = b"x" * 20_000_000
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: "
POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n{"


async def small_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading, a WebSocket with what it is sent."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    body = LARGE if scope["path"] == "/large" else b"here"
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * HEAD_SECONDS)
    start: Message = {
        "type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())],
    }  # fmt: skip
    await send(start)
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        small_app, http=GuardedProtocol, loop="asyncio", limit_concurrency=CONNECTIONS + 1, lifespan="off",
        timeout_graceful_shutdown=1, log_config=None,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)


def is_served(connection: socket.socket, request: bytes = GET) -> bool:
    read = b""
    try:
        connection.sendall(request)
        while not read.endswith(b"here") and (part := connection.recv(1000)):
            read += part
    except ConnectionError:
        return False
    return read.endswith(b"here")


def wait_until_served(port: int) -> None:
    """Until somebody who comes anew is."""

    def a_new_one_is_served() -> bool:
        with opened(port) as another:
            return is_served(another)

    eventually(a_new_one_is_served, "an answer to somebody new")


def seconds_until_closed(connection: socket.socket, meanwhile: Callable[[], None] = lambda: None) -> float:
    began = time.monotonic()
    connection.settimeout(HEAD_SECONDS / 10)
    while time.monotonic() - began < PATIENCE_SECONDS:
        try:
            meanwhile()
            if connection.recv(1000) == b"":
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.mark.parametrize("start", [b"", b"\r\n", b"G", HALF])
def test_a_connection_without_a_whole_head_is_closed(port: int, start: bytes) -> None:
    with opened(port) as connection:
        connection.sendall(start)
        assert HEAD_SECONDS / 2 < seconds_until_closed(connection) < PATIENCE_SECONDS / 2


@pytest.mark.parametrize("start", [HALF, GET + HALF, POST])
def test_who_sends_byte_by_byte_is_cut_off(port: int, start: bytes) -> None:
    with opened(port) as connection:
        connection.sendall(start)
        assert seconds_until_closed(connection, lambda: connection.sendall(b"x")) < PATIENCE_SECONDS / 2


def test_a_connection_that_stays_idle_after_a_request_is_closed(port: int) -> None:
    with opened(port) as connection:
        assert is_served(connection)
        assert seconds_until_closed(connection) < PATIENCE_SECONDS / 2


def test_a_head_without_end_is_not_kept(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 10 * PATIENCE_SECONDS)
    with opened(port) as connection, pytest.raises(ConnectionError):  # noqa: PT012  the loop is what is tried
        connection.sendall(HALF)
        for _ in range(1000):
            connection.sendall(b"x" * 65_536)


def test_a_request_takes_its_time_and_others_follow_it(port: int) -> None:
    with opened(port) as connection:
        assert is_served(connection, GET.replace(b"/", b"/slow", 1))
        assert is_served(connection, GET)
        connection.sendall(GET * 3)
        read = b""
        while read.count(b"here") < 3:
            part = connection.recv(10_000)
            assert part
            read += part


def test_a_large_answer_reaches_a_slow_reader_whole(port: int) -> None:
    with opened(port) as connection:
        connection.sendall(GET.replace(b"/", b"/large", 1))
        read, began = 0, time.monotonic()
        while read < len(LARGE):
            part = connection.recv(200_000)
            assert part, read
            read += len(part)
            # As slowly as takes the server several times its patience.
            time.sleep(max(0, began + 4 * HEAD_SECONDS * read / len(LARGE) - time.monotonic()))


def test_who_reads_nothing_of_a_large_answer_is_cut_off(port: int) -> None:
    with ExitStack() as held:
        for _ in range(CONNECTIONS):
            held.enter_context(opened(port)).sendall(GET.replace(b"/", b"/large", 1))
        wait_until_served(port)


@pytest.mark.parametrize("target", ["http://here/", "HTTP://here/", "http://evil.example/", "*", "here:80"])
@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT", "OPTIONS"])
def test_a_target_that_is_no_path_is_refused(port: int, method: str, target: str) -> None:
    websocket = "Connection: upgrade\r\nUpgrade: websocket\r\n" if method == "GET" else ""
    for more in ("", websocket):
        with opened(port) as connection:
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: here\r\n{more}\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_websocket_stays_open_without_a_word(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/") as websocket:
        with pytest.raises(TimeoutError):
            websocket.recv(4 * HEAD_SECONDS)
        websocket.send("still here")
        assert websocket.recv(PATIENCE_SECONDS) == "still here"


def test_what_is_too_much_is_closed_at_once_and_the_others_go_on(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 10 * PATIENCE_SECONDS)
    with ExitStack() as held:
        websocket = held.enter_context(connect(f"ws://127.0.0.1:{port}/"))
        first = [held.enter_context(opened(port)) for _ in range(CONNECTIONS - 1)]
        for _ in range(3 * CONNECTIONS):
            with opened(port) as surplus:
                assert seconds_until_closed(surplus) < PATIENCE_SECONDS / 2
        with pytest.raises((ConnectionError, WebSocketException)), connect(f"ws://127.0.0.1:{port}/"):
            pass
        assert [is_served(each) for each in first] == [True] * len(first)
        websocket.send("still here")
        assert websocket.recv(PATIENCE_SECONDS) == "still here"
        first.pop().close()
        wait_until_served(port)
