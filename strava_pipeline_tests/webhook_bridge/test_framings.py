"""The bridge as it is served: whoever frames a request in two ways gets one answer, and nothing behind it is served."""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import suppress

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.framings import AMBIGUOUS, CLEAR, NEXT, STATUS

READ_AT_ONCE = 8192
Bridge = tuple[subprocess.Popen[str], int]


def answered(port: int, sent: bytes) -> list[int]:
    """The statuses of all answers, until the bridge closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        # Closed while there is more to read, it resets the connection, and the answer may be lost with that.
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", received)]


def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(bridge: Bridge) -> None:
    process, port = bridge
    for name, request in AMBIGUOUS.items():
        told = answered(port, request + NEXT)
        assert told == [STATUS.get(name, 400)] or (not told and len(request) > READ_AT_ONCE), name
    assert process.poll() is None


def test_what_is_clear_is_one_request_and_the_next_is_served(bridge: Bridge) -> None:
    _, port = bridge
    ending = NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for name, (request, _) in CLEAR.items():
        statuses = [status for status in answered(port, request + ending) if status != 100]
        # A POST there is not allowed, which ends no connection.
        assert statuses == [200 if request.startswith(b"GET") else 405, 200], name
