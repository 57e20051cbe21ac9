"""Clients that send half a request and wait keep nobody else out."""

from __future__ import annotations

import http.client
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing

import psutil
import pytest

from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed

# More than ``select`` can look at.
SLOW_CLIENTS = 1_100
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


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.usefixtures("many_files")
def test_an_event_is_taken_in_time_while_a_thousand_posts_are_half_open(
    bridge: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = bridge
    served = psutil.Process(process.pid)

    def deliver(number: int) -> None:
        body = delivery(object_id=number)
        # This bridge keeps slow clients for longer: an answer that waits for the end of one does not come.
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("POST", PATH, body=body, headers=signed(body))
            assert connection.getresponse().read() == b'{"status": "new"}'

    with ExitStack() as held:
        slow = []
        for _ in range(SLOW_CLIENTS):
            slow.append(held.enter_context(socket.create_connection(("127.0.0.1", port))))
            slow[-1].sendall(HALF_A_POST)
        eventually(lambda: served.num_fds() > SLOW_CLIENTS, "a bridge that has them all")
        for number in range(1, 11):
            before = processor_seconds(served)
            deliver(number)
            # What other processes of this machine take meanwhile does not count.
            assert processor_seconds(served) - before < STRAVAS_PATIENCE_SECONDS
        # All of them were still there.
        for connection in slow:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
