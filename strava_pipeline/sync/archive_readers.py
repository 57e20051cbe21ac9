"""Has recordings read: by a process of its own, or, where nothing is hostile, at once.

A reader's process is started with the first file, and anew after one that broke a bound or crashed it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self, TypeVar

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.sync import archive_reader
from strava_pipeline.sync.archive_reader import LENGTH, READY, too_much_memory
from strava_pipeline.sync.archive_reading import Answer, Asked, Terms, answer, unread

# What the process gets of the environment: no setting, no secret.
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
# Files that are being read or wait for it: so many are in memory at once.
IN_FLIGHT: Final = 2
Subject = TypeVar("Subject")
_PIECE: Final = 2**20
_STARTING_SECONDS: Final = 120


class Reader(Protocol):
    """Reads files, in the order in which they are asked for."""

    def read(self, asked: Asked) -> Future[Answer]:
        """Begin to read a file; whatever is wrong with it is part of the answer."""


# Opens a reader for as long as a block runs: a process, or whatever a test prefers.
OpenReader = Callable[[Terms], AbstractContextManager[Reader]]


class ReadHere:
    """Reads in this process, without bounds: for files of this installation's own."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def read(self, asked: Asked) -> Future[Answer]:
        found: Future[Answer] = Future()
        found.set_result(answer(asked, self._terms))
        return found


class ReaderProcess:
    """Reads in a process with bounds on memory and time: a context manager."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recordings")
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, asked: Asked) -> Future[Answer]:
        return self._thread.submit(self._exchange, asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whatever is still being read, nobody waits for.
        if self._process is not None:
            self._process.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._end()

    def _exchange(self, asked: Asked) -> Answer:
        process = self._process or self._start()
        deadline = time.monotonic() + self._terms.limits.reading_seconds
        try:
            _send(process, replace(asked, raw=b""), deadline)
            _send_bytes(process, asked.raw, deadline)
            found: Answer = _receive(process, deadline)
        except TimeoutError:
            self._end()
            seconds = self._terms.limits.reading_seconds
            return unread(asked, f"took longer than {seconds:g} s to read", is_passing=True)
        except (EOFError, OSError):
            self._end()
            return unread(asked, "was not read, as its reader was ended", is_passing=True)
        if found == too_much_memory(asked, self._terms):
            self._end()  # its memory is in pieces
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {
            # Where this process has found the package; not the current folder, where others may have put something.
            "PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path),
            "PYTHONSAFEPATH": "1",
            # Threads for products of matrices would each reserve memory.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", archive_reader.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        for stream in _streams(self._process):
            os.set_blocking(stream.fileno(), False)
        self._agree(self._process)
        return self._process

    def _agree(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _STARTING_SECONDS
        try:
            _send(process, self._terms, deadline)
            is_ready = _receive(process, deadline) == READY
        except (TimeoutError, EOFError, OSError):
            is_ready = False
        if not is_ready:
            self._end()
            raise StravaPipelineError(
                "the process that reads recordings does not start: is there enough memory, and does"
                f" {sys.executable} -m {archive_reader.__name__} wait for its input?"
            )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in _streams(process):
            with contextlib.suppress(OSError):  # what was not written yet
                stream.close()


def read_all(reader: Reader, wanted: Iterable[tuple[Subject, Asked]]) -> Iterator[tuple[Subject, Answer]]:
    """Read files in their order, at most :data:`IN_FLIGHT` at a time, so that one is read while another is stored."""
    waiting: deque[tuple[Subject, Future[Answer]]] = deque()
    for subject, asked in wanted:
        waiting.append((subject, reader.read(asked)))
        if len(waiting) == IN_FLIGHT:
            first, found = waiting.popleft()
            yield first, found.result()
    while waiting:
        first, found = waiting.popleft()
        yield first, found.result()


def _streams(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise OSError("the reader has no pipes")
    return process.stdin, process.stdout


def _send(process: subprocess.Popen[bytes], thing: Any, deadline: float) -> None:
    _send_bytes(process, pickle.dumps(thing, pickle.HIGHEST_PROTOCOL), deadline)


def _send_bytes(process: subprocess.Popen[bytes], packed: bytes, deadline: float) -> None:
    descriptor = _streams(process)[0].fileno()
    for part in (LENGTH.pack(len(packed)), packed):
        rest = memoryview(part)
        while rest:
            _, ready, _ = select.select([], [descriptor], [], _left(deadline))
            if ready:
                rest = rest[os.write(descriptor, rest[:_PIECE]) :]


def _receive(process: subprocess.Popen[bytes], deadline: float) -> Any:
    descriptor = _streams(process)[1].fileno()
    (length,) = LENGTH.unpack(_exactly(descriptor, LENGTH.size, deadline))
    return pickle.loads(_exactly(descriptor, length, deadline))  # noqa: S301  of our own process


def _exactly(descriptor: int, count: int, deadline: float) -> bytearray:
    found = bytearray()
    while len(found) < count:
        ready, _, _ = select.select([descriptor], [], [], _left(deadline))
        if not ready:
            continue
        piece = os.read(descriptor, min(_PIECE, count - len(found)))
        if not piece:
            raise EOFError
        found += piece
    return found


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
