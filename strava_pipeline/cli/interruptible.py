"""Ends a long command on Ctrl-C, SIGTERM or SIGHUP: soon, with one line, and with the exit code of the signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from strava_pipeline.errors import StravaPipelineError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A shell's exit code of a command that a signal ended is this plus the signal's number.
BY_SIGNAL = 128


class Interrupted(StravaPipelineError):
    """A signal ended the command; ``exit_code`` tells the shell which signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = BY_SIGNAL + number


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Raise ``Interrupted`` with this message when a signal ends the block.

    Signals arrive as ``KeyboardInterrupt`` with the signal's number as argument.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Interrupted(message, _number(interrupt)) from None


@contextmanager
def message_on_interrupt(stop: Callable[[int], str]) -> Iterator[None]:
    """Raise ``Interrupted`` when a signal ends the block: ``stop`` ends the work and returns the message.

    ``stop`` gets the signal's number. Further signals are ignored, so that they cannot interrupt it.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        number = _number(interrupt)
        raise Interrupted(stop(number), number) from None


def run_in_thread(work: Callable[[], None]) -> Future[None]:
    """Begin ``work`` in a thread that does not keep the process alive.

    Signals reach the main thread alone: a library in the thread cannot catch one, and no statement is interrupted.
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
