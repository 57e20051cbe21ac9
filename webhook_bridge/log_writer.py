"""Writes the log in a thread of its own, so that no request waits for the log, or for a reader that takes nothing.

``QueueHandler`` and ``QueueListener`` with a bounded queue. The standard library's would wait for room in the queue,
and at the end of the process for a reader that takes nothing: here lines are lost instead, and counted.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import Full, Queue
from typing import TextIO

from strava_pipeline.log_lines import line_format
from strava_pipeline.own_process import log_by

# Lines that may wait for a log that takes nothing; some 200 bytes each. Lines beyond are counted, and lost.
MOST_LINES = 10_000
# How long the end of the process waits for its last lines.
CLOSING_SECONDS = 2.0


class LogWriter(QueueHandler):
    """Formats a record where it is logged, and leaves it to a thread to write; logging closes it at the end."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        queue: Queue[logging.LogRecord | None] = Queue(MOST_LINES)
        super().__init__(queue)
        self.setFormatter(formatter)
        self._lines = _Lines(queue, stream, formatter)
        self._lines.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Leave a record to be written, or count it as lost if the queue is full."""
        try:
            self.queue.put_nowait(record)
        except Full:
            self._lines.lost += 1

    def close(self) -> None:
        """Write what is left, for at most :data:`CLOSING_SECONDS`."""
        self._lines.finish()
        super().close()


class _Lines(QueueListener):
    """The thread that writes; it reports lost lines as soon as the log takes some again.

    It has no handler of its own: at the process's end logging would wait for that handler's lock, which a write that
    nobody reads holds.
    """

    def __init__(self, queue: Queue[logging.LogRecord | None], stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__(queue)
        self._waiting, self._stream, self._formatter = queue, stream, formatter
        self.lost = 0

    def handle(self, record: logging.LogRecord) -> None:
        # A log that nobody reads any more, or that there never was, is no reason to end the bridge or this thread.
        with suppress(Exception):
            self._write(record.msg)
            if self.lost:
                lost, self.lost = self.lost, 0
                self._write(self._formatter.format(_loss(lost)))

    def finish(self) -> None:
        deadline = time.monotonic() + CLOSING_SECONDS
        with suppress(Full):
            self._waiting.put(None, timeout=CLOSING_SECONDS)
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except BrokenPipeError:
            # What the stream still holds is written once more when the process ends, which would end it with an error.
            with Path(os.devnull).open("w", encoding="utf-8") as nobody:
                os.dup2(nobody.fileno(), self._stream.fileno())


def log_in_thread(level: str, form: str) -> None:
    """Log to standard error from this level up, in a :class:`~strava_pipeline.log_lines.LogFormatName`."""
    log_by(LogWriter(sys.stderr, line_format(form)), level, form)


def _loss(lines: int) -> logging.LogRecord:
    told = "%d lines of the log are lost: it was not written as fast as they came"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, told, (lines,), None)
