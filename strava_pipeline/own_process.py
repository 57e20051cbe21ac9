"""Sets up the process of one of our entry points, in which nothing else runs. Importing the package does none of it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType
from typing import TextIO

import stamina.instrumentation

from strava_pipeline import redaction
from strava_pipeline.log_lines import JsonLines, LogFormatName, StderrLines
from strava_pipeline.printable import WHOLE, printable
from strava_pipeline.redaction import get_logger

PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy")
NO_PROXY = ("no_proxy", "NO_PROXY")
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
log = get_logger(__name__)
# Parts of an installation; of commands, their name.
CODE_SERVER, RUN = "code-server", "run"
_parts = [""]


def set_up(part: str = "") -> None:
    """Redact everything that the process logs, and log retries in our words; reach this machine without a proxy.

    A second call changes nothing but the ``part`` of an installation: what this process is, such as ``bridge``; see
    :func:`application_name`.
    """
    _parts[:] = [part]
    redaction.install()
    _reach_this_machine_directly()
    # If structlog is installed, a hook of stamina's own prints to standard output, among the answers of commands.
    stamina.instrumentation.set_on_retry_hooks([_log_retry])


def application_name(part: str | None = None) -> str:
    """Return the name by which a server of Postgres shows a connection of ``part``; unset: of this process."""
    return f"strava-pipeline {_parts[0] if part is None else part}".rstrip()


def log_as_set(level: str | None, form: str) -> None:
    """Log as these settings say, if they say anything: without a handler, Python prints the messages of warnings."""
    if level is not None or form != LogFormatName.TEXT:
        log_to_stderr(level or "WARNING", form)


def log_to_stderr(level: str, form: str = LogFormatName.TEXT) -> None:
    """Let the root logger write to standard error from this level up, in a :class:`LogFormatName`."""
    log_by(StderrLines(form), level, form)


def log_by(handler: logging.Handler, level: str, form: str) -> None:
    """Let the root logger write by this handler, unless it has one.

    In JSON, warnings and what ends the process or one of its threads are records as well.
    """
    logging.basicConfig(level=level, handlers=[handler])
    if form == LogFormatName.JSON:
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread


def announce(text: str, form: str, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Print what a server says of itself, such as where it listens, to standard output; in JSON, as a record."""
    # It may quote texts of others: a database's, names of files.
    line = printable(text, WHOLE)
    if form == LogFormatName.JSON:
        line = JsonLines().format(logging.LogRecord(__name__, level, __file__, 0, line, None, None))
    stream = stream or sys.stdout
    stream.write(f"{line}\n")
    stream.flush()


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        log.critical("the process ends by an error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(details: threading.ExceptHookArgs) -> None:
    if details.exc_value is not None and details.exc_type is not SystemExit:
        name = "unknown" if details.thread is None else details.thread.name
        log.critical("the thread %s ends by an error", name, exc_info=details.exc_value)


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    log.info("%s: trying again in %.1f s", details.caused_by, details.wait_for)


def _reach_this_machine_directly() -> None:
    """Add this machine's names to ``NO_PROXY``, if the environment names a proxy; child processes inherit it.

    Our own requests need none of this (:mod:`.proxies`): it is for other people's libraries in these processes, such as
    Apprise, gRPC, and stores of files.
    """
    if not any(os.environ.get(form) for name in PROXY_VARIABLES for form in (name, name.upper())):
        return
    # As requests looks: small letters go first.
    excepted = next((text for name in NO_PROXY if (text := os.environ.get(name, "").strip())), "")
    if excepted == "*":
        return
    names = [name.strip() for name in excepted.split(",") if name.strip()]
    whole = ",".join([*names, *(name for name in THIS_MACHINE if name not in names)])
    os.environ.update(dict.fromkeys(NO_PROXY, whole))
