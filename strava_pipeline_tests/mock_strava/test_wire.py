"""What the mock does on the wire, seen by a client that speaks bytes, against the command's own process."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.mock_strava.processes import read_until_ready, start


@dataclass(frozen=True)
class Served:
    """A mock in a process of its own, and a bare socket to it."""

    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def script(self, **fault: Any) -> None:
        requests.post(f"{self.url}/mock/faults", json=fault, timeout=PATIENCE_SECONDS).raise_for_status()

    def ask(self, path: str = "/api/v3/athlete") -> socket.socket:
        """A socket on which a request was sent."""
        line = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        return line

    def told(self, path: str = "/api/v3/athlete") -> bytes:
        """All that comes until the mock closes the line."""
        with self.ask(path) as line:
            return b"".join(iter(lambda: line.recv(65_536), b""))


@pytest.fixture(scope="module")
def process() -> Iterator[Served]:
    with start(0) as process:
        address = re.search(r"http://127\.0\.0\.1:\d+", read_until_ready(process))
        assert address
        yield Served(address[0])
        process.terminate()
        _, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, complaints
    # That many calls wait for a thread is worth a line to waitress.
    assert "Traceback" not in complaints


@pytest.fixture
def served(process: Served) -> Iterator[Served]:
    requests.post(f"{process.url}/mock/limits/reset", timeout=PATIENCE_SECONDS)
    yield process
    left = requests.delete(f"{process.url}/mock/faults", timeout=PATIENCE_SECONDS)
    assert left.json() == []


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def promised(head: bytes) -> int:
    found = re.search(rb"Content-Length: (\d+)", head)
    assert found
    return int(found[1])


@pytest.mark.parametrize("size", [0, 10, 10_000])
def test_a_cut_body_promises_more_than_comes(served: Served, size: int) -> None:
    served.script(fault="cut", size_bytes=size)
    head, body = split(served.told())
    assert head.startswith(b"HTTP/1.1 401 ")
    assert len(body) == min(size, 108)
    assert promised(head) > len(body)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_dripping_answer_comes_in_its_own_time(served: Served, part: str) -> None:
    served.script(fault="drip", bytes_per_s=500, part=part)
    with served.ask() as line:
        started, pieces = time.monotonic(), []
        while piece := line.recv(65_536):
            pieces.append(piece)
    slow = len(b"".join(pieces)) - (0 if part == "headers" else len(pieces[0]))
    assert time.monotonic() - started >= slow / 500
    head, body = split(b"".join(pieces))
    assert promised(head) == len(body)
    assert (b"\r\n\r\n" in pieces[0]) is (part == "body")


def test_a_call_that_hangs_is_never_answered_and_keeps_nobody_else_waiting(served: Served) -> None:
    served.script(fault="hang", times=90)
    lines = [served.ask() for _ in range(90)]
    # More than the mock has threads; it answers others all the while.
    faults = f"{served.url}/mock/faults"
    eventually(lambda: requests.get(faults, timeout=PATIENCE_SECONDS).json()[0]["left"] == 0, "ninety calls that hang")
    for line in lines:
        line.settimeout(0.001)
        with line, pytest.raises(TimeoutError):
            line.recv(1)


def test_a_reset_is_no_orderly_end(served: Served) -> None:
    served.script(fault="reset")
    with served.ask() as line, pytest.raises(ConnectionResetError):
        line.recv(1)


def test_a_lost_reply_leaves_rotated_tokens_behind(served: Served) -> None:
    def token(**form: str) -> requests.Response:
        credentials = {"client_id": "1", "client_secret": "any"}
        return requests.post(f"{served.url}/oauth/token", data=credentials | form, timeout=PATIENCE_SECONDS)

    athlete = requests.get(f"{served.url}/mock/athletes", timeout=PATIENCE_SECONDS).json()[0]
    pair = token(grant_type="authorization_code", code=athlete["code"]).json()
    requests.post(f"{served.url}/mock/tokens/expire", timeout=PATIENCE_SECONDS)
    served.script(path="/oauth/token", fault="reply_lost")
    with pytest.raises(requests.ConnectionError):
        token(grant_type="refresh_token", refresh_token=pair["refresh_token"])
    again = token(grant_type="refresh_token", refresh_token=pair["refresh_token"])
    assert again.json()["errors"] == [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]


def test_an_answer_can_lack_its_date(served: Served) -> None:
    served.script(fault="headers", headers={"Date": None})
    head, body = split(served.told())
    assert b"Date" not in head
    assert b"X-RateLimit-Usage" in head
    assert promised(head) == len(body)


def test_a_huge_body_comes_whole(served: Served) -> None:
    served.script(fault="huge", size_bytes=40_000_000)
    answer = requests.get(f"{served.url}/api/v3/athlete", timeout=PATIENCE_SECONDS)
    assert len(answer.content) == 40_000_000


def test_faults_of_the_wire_leave_the_next_call_alone(served: Served) -> None:
    served.script(fault="reset", times=3)
    for _ in range(3):
        with served.ask() as line, pytest.raises(ConnectionResetError):
            line.recv(1)
    assert requests.get(f"{served.url}/api/v3/athlete", timeout=PATIENCE_SECONDS).status_code == 401
