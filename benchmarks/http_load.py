"""Sends prepared HTTP requests over several kept-alive connections, from one thread that waits for all of them."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

HOST = "127.0.0.1"
PATIENCE_SECONDS = 30.0
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Answered:
    """One answer: its status, when it was read (monotonic s), and how long after its request was due (s)."""

    status: int
    at: float
    seconds: float


@dataclass
class _Line:
    """One connection: when its request was due (monotonic s), and the bytes of the answer so far."""

    connection: socket.socket
    due: float = 0.0
    read: bytearray = field(default_factory=bytearray)


class Load:
    """A few connections to one server; use as a context manager."""

    def __init__(self, port: int, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        # Connections are used in turn, since the server closes one that is idle for long.
        self._idle: deque[_Line] = deque()
        for _ in range(connections):
            connection = socket.create_connection((HOST, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = _Line(connection)
            self._selector.register(connection, selectors.EVENT_READ, line)
            self._idle.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.connection.close()
        self._selector.close()

    def closed(self, requests: Iterable[bytes], seconds: float) -> list[Answered]:
        """Send the next request as soon as a connection is free, for so many seconds or until no request is left."""
        stop = time.monotonic() + seconds
        ready = iter(requests)
        answered: list[Answered] = []
        busy = 0
        while True:
            while self._idle and time.monotonic() < stop and (request := next(ready, None)) is not None:
                self._send(self._idle.popleft(), request, time.monotonic())
                busy += 1
            if not busy:
                return answered
            came = self._answers(PATIENCE_SECONDS)
            busy -= len(came)
            answered += came

    def at_rate(self, requests: Iterator[bytes], *, per_second: float, seconds: float) -> list[Answered]:
        """Send on a fixed schedule; a request that must wait for a free connection counts from the time it was due."""
        begin = time.monotonic()
        answered: list[Answered] = []
        total, sent = int(per_second * seconds), 0
        while len(answered) < total:
            while self._idle and sent < total and begin + sent / per_second <= time.monotonic():
                self._send(self._idle.popleft(), next(requests), begin + sent / per_second)
                sent += 1
            pause = begin + sent / per_second - time.monotonic() if sent < total and self._idle else PATIENCE_SECONDS
            answered += self._answers(max(pause, 0.0))
        return answered

    @staticmethod
    def _send(line: _Line, request: bytes, due: float) -> None:
        line.due = due
        line.connection.sendall(request)

    def _answers(self, patience: float) -> list[Answered]:
        """The answers that have arrived; their connections are free again."""
        answered = []
        for key, _ in self._selector.select(patience):
            line: _Line = key.data
            received = line.connection.recv(65536)
            if not received:
                raise ConnectionError("the server closed a connection")
            line.read += received
            if (status := _whole(line.read)) is not None:
                now = time.monotonic()
                answered.append(Answered(status, now, now - line.due))
                line.read.clear()
                self._idle.append(line)
        return answered


def _whole(read: bytearray) -> int | None:
    """The status of an answer that was read to its last byte; ``None`` for a shorter one."""
    head_ends = read.find(END_OF_HEAD)
    if head_ends < 0:
        return None
    head = bytes(read[:head_ends]).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]) if len(read) >= head_ends + len(END_OF_HEAD) + length else None
