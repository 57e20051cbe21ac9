"""Writes the log in a thread of its own, so that threads that answer requests wait neither for it nor for others.

If the answering threads wrote, each would wait for the interpreter while it holds the lock that the next one needs.
``QueueHandler`` and ``QueueListener`` of the standard library almost fit, but wake a thread and write for each line,
which in a comparison cost about a tenth of the deliveries per second. While the log accepts nothing, their queue grows
without end, or each line adds a traceback to that log; and the end of the process waits for the log.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TextIO

# So many lines wait while the log accepts nothing, some 200 bytes each; further lines are counted and lost.
MOST_LINES = 10_000
# How long a line waits for others to be written with it.
PAUSE_SECONDS = 0.05
# How long the end of the process waits for its last lines.
CLOSING_SECONDS = 2.0


class LogWriter(logging.Handler):
    """A handler that formats in the logging thread and writes in its own; ``logging`` closes it at exit."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._lost = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line to be written."""
        if self._lines.qsize() >= MOST_LINES:
            self._lost += 1
            return
        try:
            self._lines.put(self.format(record))
        except Exception:  # noqa: BLE001  as every handler of logging does
            self.handleError(record)

    def close(self) -> None:
        """Write the lines that are left, for at most 2 s."""
        self._closing.set()
        self._lines.put(None)
        self._thread.join(CLOSING_SECONDS)
        super().close()

    def _run(self) -> None:
        more = True
        while more:
            found = [self._lines.get()]
            # To wake up for each line would cost more than to write it.
            self._closing.wait(PAUSE_SECONDS)
            with suppress(Empty):
                while len(found) < MOST_LINES:
                    found.append(self._lines.get_nowait())
            more = None not in found
            lines = [line for line in found if line is not None]
            if self._lost:
                lines.append(f"{self._lost} lines of the log are lost: it was not written as fast as they came")
                self._lost = 0
            # A log that cannot be written must end neither the bridge nor this thread.
            with suppress(Exception):
                self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            self._stream.writelines(f"{line}\n" for line in lines)
            self._stream.flush()
        except BrokenPipeError:
            # At exit Python writes what the stream still holds, which would fail: let it go to /dev/null.
            with Path(os.devnull).open("w", encoding="utf-8") as nobody:
                os.dup2(nobody.fileno(), self._stream.fileno())
