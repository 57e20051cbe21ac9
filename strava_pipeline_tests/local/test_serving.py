"""The server lets go of clients that never finish, serves those that read slowly, and waits rather than turns."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from flask import Flask, request

from strava_pipeline.local import serving
from strava_pipeline.local.listeners import open_listener

REQUEST_SECONDS = 0.5
PATIENCE_SECONDS = 60
# More than the buffers of both ends of a connection take.
LARGE = "x" * 20_000_000


def large_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/large", view_func=lambda: LARGE)
    return app


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", REQUEST_SECONDS)
    monkeypatch.setattr(serving, "CLEANUP_SECONDS", 0)
    server = serving._create_server(large_app(), open_listener("127.0.0.1", 0, "the test"), threads=2)
    server.adj.asyncore_loop_timeout = 0.05
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.effective_port
    server._map.clear()  # what it serves is gone, and so its loop ends
    server.trigger.pull_trigger()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    server.task_dispatcher.shutdown()
    server.close()


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nX-Slow: ", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n"],
    ids=["head", "body"],
)
def test_who_sends_byte_by_byte_is_cut_off(port: int, start: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(start)
        connection.settimeout(0.05)
        while True:
            try:
                connection.sendall(b"x")
                if connection.recv(100) == b"":
                    break
            except TimeoutError:
                assert time.monotonic() - began < PATIENCE_SECONDS
            except ConnectionError:
                break
    assert time.monotonic() - began > REQUEST_SECONDS


def test_a_large_answer_reaches_a_slow_reader_whole(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        read = b""
        while part := connection.recv(10_000):
            read += part
    assert read.partition(b"\r\n\r\n")[2] == LARGE.encode()


def test_a_server_beside_serves_during_its_block() -> None:
    listener = open_listener("127.0.0.1", 0, "the test")
    address = listener.getsockname()
    app = Flask(__name__)

    @app.get("/")
    def waited() -> str:
        return str(time.monotonic() - request.environ[serving.COMPLETE_AT])

    with closing(HTTPConnection(address[0], address[1], PATIENCE_SECONDS)) as connection:
        with serving.serve_beside(app, listener, threads=1):
            connection.request("GET", "/")
            # The request knows since when it waits.
            assert 0 <= float(connection.getresponse().read()) < PATIENCE_SECONDS
        with pytest.raises(ConnectionError):
            socket.create_connection(address)


def test_the_loop_leaves_a_connection_alone_while_a_thread_sends() -> None:
    server = serving._create_server(large_app(), open_listener("127.0.0.1", 0, "the test"), threads=1)
    ours, theirs = socket.socketpair()
    with closing(server), closing(theirs), ThreadPoolExecutor(1) as other_thread:
        channel = serving._Channel(server, ours, ("127.0.0.1", 1), server.adj, map=server._map)
        assert not channel.writable()
        channel.total_outbufs_len = 1
        assert channel.writable()
        assert other_thread.submit(channel.outbuf_lock.acquire).result()
        assert not channel.writable()
        other_thread.submit(channel.outbuf_lock.release).result()
        assert channel.writable()
        channel.close()
    server.task_dispatcher.shutdown()
