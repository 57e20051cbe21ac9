"""Progress lines of a long command, each with the seconds since its start; they never pause for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from strava_pipeline.cli.console import say

# After this long without a line, one says what is under way; a line comes every 5 s even if its text takes a while.
QUIET_SECONDS = 3.0


class ProgressLines:
    """Print lines while the ``with`` block runs: those given to :meth:`say`, and one every ``quiet_s`` in between."""

    def __init__(self, quiet_s: float = QUIET_SECONDS) -> None:
        self._quiet_s = quiet_s
        self._began = self._said_at = time.monotonic()
        self._meanwhile: Callable[[], str] = lambda: "starting"
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._speak_up, name="progress-lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the lines; raise the error of a ``meanwhile`` that failed, unless the block failed itself."""
        self._over.set()
        self._thread.join()
        if self._failed is not None and error is None:
            raise self._failed

    def say(self, text: str, meanwhile: Callable[[], str]) -> None:
        """Print a line. ``meanwhile``, which another thread calls, returns what is under way from now on.

        The ``meanwhile`` of the line before is not called any more once this returns.
        """
        with self._lock:
            self._meanwhile = meanwhile
            self._print(text)

    def _speak_up(self) -> None:
        while not self._over.wait(self._quiet_left_s()):
            with self._lock:
                if self._quiet_left_s() > 0:
                    continue
                try:
                    self._print(self._meanwhile())
                except Exception as error:  # noqa: BLE001  raised where the block ends
                    self._failed = error
                    return

    def _quiet_left_s(self) -> float:
        return max(0.0, self._said_at + self._quiet_s - time.monotonic())

    def _print(self, text: str) -> None:
        self._said_at = time.monotonic()
        say(f"[{self._said_at - self._began:5.1f} s] {text}")
