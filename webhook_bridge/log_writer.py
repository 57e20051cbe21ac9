"""Writes the log by a thread of its own: who answers a request waits neither for the log nor for who writes to it.

Threads that wrote one after the other would each have to get the interpreter back while they hold what the next of
them waits for. ``QueueHandler`` and ``QueueListener`` would do nearly that, but each line would wake the listener and
be written by itself, which side by side cost some tenth of the deliveries per second. A log that takes nothing would
fill their queue without end, or make each line a trace in that very log, and the end of the process would wait for it.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TextIO

# What a log that takes nothing leaves waiting; some 200 bytes each. Lines beyond are counted, and lost.
MOST_LINES = 10_000
# How long a line waits for others to be written with it.
PAUSE_SECONDS = 0.05
# How long the end of the process waits for its last lines.
CLOSING_SECONDS = 2.0


class LogWriter(logging.Handler):
    """Formats where something is logged, and writes beside; logging closes it at the end of the process."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._lost = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a line to be written."""
        if self._lines.qsize() >= MOST_LINES:
            self._lost += 1
            return
        try:
            self._lines.put(self.format(record))
        except Exception:  # noqa: BLE001  as every handler of logging does
            self.handleError(record)

    def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        self._lines.put(None)
        self._thread.join(CLOSING_SECONDS)
        super().close()

    def _run(self) -> None:
        more = True
        while more:
            found = [self._lines.get()]
            # To be woken for each line would cost more than to write it.
            self._closing.wait(PAUSE_SECONDS)
            with suppress(Empty):
                while len(found) < MOST_LINES:
                    found.append(self._lines.get_nowait())
            more = None not in found
            lines = [line for line in found if line is not None]
            if self._lost:
                lines.append(f"{self._lost} lines of the log are lost: it was not written as fast as they came")
                self._lost = 0
            # A log that nobody takes any more, or that there never was, is no reason to end the bridge or this thread.
            with suppress(Exception):
                self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            self._stream.writelines(f"{line}\n" for line in lines)
            self._stream.flush()
        except BrokenPipeError:
            # What the stream still holds is written once more when the process ends, which would end it with an error.
            with Path(os.devnull).open("w", encoding="utf-8") as nobody:
                os.dup2(nobody.fileno(), self._stream.fileno())
