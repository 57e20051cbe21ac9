"""What a log record becomes in our processes: one JSON object a line, or text; and who writes it to standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

from strava_pipeline.log_context import LogId, current_log_ids
from strava_pipeline.printable import ELLIPSIS, below_one_another, printable, printable_json
from strava_pipeline.redaction import is_redacted, is_written, note_written, redact, redacted_traceback

# Characters. A longer message loses its end, a longer traceback its middle.
LONGEST_MESSAGE: Final = 4000
LONGEST_TRACEBACK: Final = 30_000
# Ids as text lines name them, in this order.
_SHORT: Final = {
    "request_id": "request",
    "event_id": "event",
    "run_id": "run",
    "step": "step",
    "athlete_id": "athlete",
    "activity_id": "activity",
    "fence": "fence",
}


class LogFormatName(StrEnum):
    """The form of log lines."""

    TEXT = "text"
    JSON = "json"


def line_format(name: str) -> logging.Formatter:
    """Return the formatter of a form, which is a :class:`LogFormatName`."""
    return JsonLines() if name == LogFormatName.JSON else TextLines()


class TextLines(logging.Formatter):
    """One line per record, with nothing that a terminal obeys, and the ids of its work behind: ``[event=12 run=...]``.

    Further lines, such as those of a traceback, are indented, so that no foreign text can look like a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, with its traceback below."""
        message, run = _told_by(record)
        told = f"{self.formatTime(record)} {record.levelname} {record.name}: {message}"
        line = printable(told, LONGEST_MESSAGE)
        if ids := _listed({**run, **current_log_ids()} if run else current_log_ids()):
            line = f"{line} [{ids}]"
        below = [part for part in (_exception_of(record), _stack_of(record)) if part]
        return below_one_another("\n".join([line, *below]), LONGEST_MESSAGE) if below else line


class JsonLines(logging.Formatter):
    """One JSON object on one line, whatever is logged, without secrets: who says what, when, and the ids of its work.

    ``time`` (ISO, UTC), ``level``, ``logger``, ``message``; where they are known, the names of
    :class:`~strava_pipeline.log_context.LogIds`, Dagster's ``job`` and ``step``, ``exception`` and ``stack``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without a line break."""
        message, run = _told_by(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(message, LONGEST_MESSAGE),
            **run,
            **current_log_ids(),
        }
        if exception := _exception_of(record):
            line["exception"] = _without_middle(exception)
        if stack := _stack_of(record):
            line["stack"] = _without_middle(stack)
        return printable_json(line, indent=None)


class StderrLines(logging.StreamHandler[TextIO]):
    """Writes records to standard error, each once, however many handlers of this class it meets.

    A line reaches the file in one piece, since other processes may write into the same one.
    """

    def __init__(self, form: str, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self.setFormatter(line_format(form))
        self.addFilter(is_not_written)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record's line."""
        try:
            note_written(record)
            _write(self.stream, f"{self.format(record)}{self.terminator}")
        except Exception:  # noqa: BLE001  as every handler: what is logged must not end the work
            self.handleError(record)


def is_not_written(record: logging.LogRecord) -> bool:
    """Whether no :class:`StderrLines` has written this record."""
    return not is_written(record)


def is_json(logger: logging.Logger) -> bool:
    """Whether what this logger's own handlers write is JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers)


def _told_by(record: logging.LogRecord) -> tuple[str, dict[str, str]]:
    """A record's message without secrets; and of a Dagster run's the ``run_id``, ``job`` and ``step``.

    Dagster puts these in front of the message, and keeps the original beside it.
    """
    about = getattr(record, "dagster_meta", None)
    if about is None:
        return _message_of(record), {}
    names = {"run_id": "run_id", "job_name": "job", "step_key": "step"}
    known = {ours: str(about[theirs]) for theirs, ours in names.items() if about.get(theirs)}
    return redact(str(about["orig_message"])), known


def _message_of(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):
        return redact(f"{record.msg} (its arguments do not fit)")
    return message if is_redacted(record) else redact(message)


def _exception_of(record: logging.LogRecord) -> str:
    if getattr(record, "dagster_event", None) is not None:
        # Dagster puts the error of an event, such as a step's failure, below the message.
        return _message_of(record).partition("\n")[2].strip("\n")
    if record.exc_text or not record.exc_info or record.exc_info[0] is None:
        return redact(record.exc_text or "")
    return redacted_traceback(record.exc_info)


def _stack_of(record: logging.LogRecord) -> str:
    return redact(record.stack_info or "")


def _listed(ids: Mapping[str, LogId]) -> str:
    told = []
    for name, short in _SHORT.items():
        value = ids.get(name, [])
        told += [f"{short}={each}" for each in (value if isinstance(value, list) else [value])]
    return " ".join(told)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + ELLIPSIS


def _without_middle(text: str) -> str:
    half = LONGEST_TRACEBACK // 2
    return text if len(text) <= LONGEST_TRACEBACK else f"{text[:half]}\n{ELLIPSIS}\n{text[-half:]}"


def _write(stream: TextIO, text: str) -> None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        stream.write(text)
        stream.flush()
        return
    stream.flush()
    left = memoryview(text.encode("utf-8", "backslashreplace"))
    while left:
        left = left[os.write(descriptor, left) :]
