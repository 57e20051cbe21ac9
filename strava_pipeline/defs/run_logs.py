"""What a run of ours logs to standard error: which lines, in which form, with which ids.

In a process of our own, Dagster's console writes each line of the run as all our processes do. In anybody's process,
with ``STRAVA_LOG_FORMAT=json``, a handler on the logger ``strava_pipeline`` writes what our code logs while the run
lasts, and :func:`step_log` adds what our steps tell Dagster. Without the setting a host's logging stays as it is.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from strava_pipeline import redaction
from strava_pipeline.defs.dagster_internals import DagsterLogHandler
from strava_pipeline.log_context import current_log_ids, log_ids
from strava_pipeline.log_lines import LogFormatName, StderrLines, is_not_written, line_format
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.strava.transport import CALLS

OURS = "strava_pipeline"
# The name of the logger behind Dagster's console.
CONSOLE = "dagster"
# The handlers of the runs in somebody else's process, which may have several at once.
_guests: list[StderrLines] = []


def write_consoles(form: str) -> None:
    """Have Dagster's console write all lines of runs in this form, but those that were written already.

    Only for processes of our own. For each run Dagster makes several loggers that no other code finds.
    """

    class Console(logging.Logger):
        def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802  the name is logging's
            if self.name == CONSOLE and self.manager.loggerDict.get(CONSOLE) is not self:
                hdlr.setFormatter(line_format(form))
                hdlr.addFilter(is_not_written)
            super().addHandler(hdlr)

    logging.setLoggerClass(Console)


@contextmanager
def logging_run(context: dg.InitResourceContext, settings: Settings) -> Iterator[None]:
    """Log during the block as the settings say, with the id of the context's run; without a run, change nothing."""
    if context.run is None:
        yield
        return
    with log_ids(run_id=context.run.run_id):
        if settings.log_format is LogFormatName.JSON:
            with _writing(context, settings):
                yield
        else:
            yield


def step_log(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> logging.Logger:
    """Return the log of a step of ours in Dagster; its lines are written as :func:`logging_run` says, too."""
    log: logging.Logger = context.log
    if _guests and not any(isinstance(handler, StderrLines) for handler in log.handlers):
        log.addHandler(_guests[-1])
    return log


class _Loggers:
    """Our logger, and that of calls, which pass on what lines need while a run writes; the last run restores them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._runs = 0
        self._before = logging.NOTSET, logging.NOTSET, True

    @contextmanager
    def open(self, ours: logging.Logger, calls: logging.Logger) -> Iterator[None]:
        with self._guard:
            self._runs += 1
            if self._runs == 1:
                self._before = ours.level, calls.level, calls.propagate
                if not ours.isEnabledFor(logging.INFO):
                    ours.setLevel(logging.INFO)
                # Not into Dagster's event log: a row for each call would make it grow.
                calls.setLevel(logging.DEBUG)
                calls.propagate = False
        try:
            yield
        finally:
            with self._guard:
                self._runs -= 1
                if not self._runs:
                    ours.setLevel(self._before[0])
                    calls.setLevel(self._before[1])
                    calls.propagate = self._before[2]


_loggers = _Loggers()


@contextmanager
def _writing(context: dg.InitResourceContext, settings: Settings) -> Iterator[None]:
    ours, calls = get_logger(OURS), get_logger(CALLS)
    lines, call_lines = _new_handlers(context, settings)
    is_guest = not redaction.is_installed()
    with _loggers.open(ours, calls):
        # First, since Dagster's handler puts the run and the step into the record's message.
        ours.handlers.insert(0, lines)
        calls.addHandler(call_lines)
        if is_guest:
            _guests.append(lines)
        try:
            yield
        finally:
            if is_guest:
                _guests.remove(lines)
            ours.removeHandler(lines)
            calls.removeHandler(call_lines)


def _new_handlers(context: dg.InitResourceContext, settings: Settings) -> tuple[StderrLines, StderrLines]:
    """A handler for what our code logs, and one for the calls to Strava that an event causes, or for all at DEBUG."""
    lines, call_lines = (StderrLines(settings.log_format) for _ in range(2))
    wanted = logging.getLevelNamesMapping()[settings.log_level or "INFO"]
    # A command that shows the run in its own way has silenced the console.
    silent = min((console.level for console in _consoles(context)), default=logging.NOTSET)
    lines.setLevel(max(wanted, silent))
    call_lines.setLevel(silent if silent > logging.WARNING else logging.DEBUG)
    if wanted > logging.DEBUG:
        call_lines.addFilter(_is_about_an_event)
    return lines, call_lines


def _is_about_an_event(_: logging.LogRecord) -> bool:
    return "event_id" in current_log_ids()


def _consoles(context: dg.InitResourceContext) -> list[logging.Logger]:
    """The loggers to which Dagster hands each line of the run, beside its event log."""
    found = [handler for handler in getattr(context.log, "handlers", ()) if isinstance(handler, DagsterLogHandler)]
    return [logger for handler in found for logger in handler._loggers]  # noqa: SLF001  nothing public names them
