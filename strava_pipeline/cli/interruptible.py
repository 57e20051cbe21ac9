"""Ctrl-C and SIGTERM during a long command: it ends soon, with one line, and with the exit code of the signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from strava_pipeline.errors import StravaPipelineError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a shell adds to the number of the signal that ended a command.
BY_SIGNAL = 128


class Interrupted(StravaPipelineError):
    """Somebody ended the command; ``exit_code`` tells the shell by which signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = BY_SIGNAL + number


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """A signal, which is a ``KeyboardInterrupt`` with its number as argument, ends the block with ``Interrupted``."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Interrupted(message, _number(interrupt)) from None


@contextmanager
def message_on_interrupt(stop: Callable[[], str]) -> Iterator[None]:
    """The same, with what ``stop`` ends and says; further signals do not disturb it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Interrupted(stop(), _number(interrupt)) from None


def run_in_thread(work: Callable[[], None]) -> Future[None]:
    """Begin ``work`` in a thread that does not keep the process alive.

    Signals reach the main thread alone, so that neither libraries which catch them for themselves nor a statement
    under way get to see one.
    """
    outcome: Future[None] = Future()

    def live() -> None:
        try:
            work()
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001  raised again where the outcome is asked for
            outcome.set_exception(error)

    threading.Thread(target=live, daemon=True).start()
    return outcome


def _number(interrupt: KeyboardInterrupt) -> int:
    return int(interrupt.args[0]) if interrupt.args else int(signal.SIGINT)
