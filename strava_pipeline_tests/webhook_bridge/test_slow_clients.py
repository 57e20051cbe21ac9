"""Clients that send half a request and wait keep nobody else out."""

from __future__ import annotations

import http.client
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed

SLOW_CLIENTS = 1_000
# Strava gives an answer two seconds.
STRAVAS_PATIENCE_SECONDS = 2
HALF_A_POST = f"POST {PATH} HTTP/1.1\r\nHost: bridge\r\nContent-Length: 500\r\n\r\n{{".encode()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for as many connections from this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SLOW_CLIENTS + 500
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_an_event_is_taken_in_time_while_a_thousand_posts_are_half_open(
    bridge: tuple[subprocess.Popen[str], int],
) -> None:
    _, port = bridge

    def deliver(number: int) -> float:
        body = delivery(object_id=number)
        began = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=STRAVAS_PATIENCE_SECONDS)) as connection:
            connection.request("POST", PATH, body=body, headers=signed(body))
            assert connection.getresponse().read() == b'{"status": "new"}'
        return time.monotonic() - began

    with ExitStack() as held:
        slow = []
        for _ in range(SLOW_CLIENTS):
            slow.append(held.enter_context(socket.create_connection(("127.0.0.1", port))))
            slow[-1].sendall(HALF_A_POST)
        for number in range(1, 11):
            assert deliver(number) < STRAVAS_PATIENCE_SECONDS
        # All of them were still there.
        for connection in slow:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
