"""The server lets go of clients that never finish."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from strava_pipeline.local import serving

REQUEST_SECONDS = 0.5
PATIENCE_SECONDS = 10


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", REQUEST_SECONDS)
    monkeypatch.setattr(serving, "CLEANUP_SECONDS", 0)
    server = serving._listening(Flask(__name__), "127.0.0.1", 0, "the test", threads=2)
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
    "start", [b"GET / HTTP/1.1\r\nX-Slow: ", b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"], ids=["head", "body"]
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
