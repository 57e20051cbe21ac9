"""Lines that tell how far a long command is, each with the seconds since its start; a quiet command speaks up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from strava_pipeline.cli.console import say

# Nothing printed for so long, and a line tells what is under way: with room for it, one every five seconds.
QUIET_SECONDS = 3.0


class ProgressLines:
    """Prints lines while the ``with`` block runs: those it is given, and one about every three seconds in between."""

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
        """End the lines; raise what kept ``meanwhile`` from being told, unless the block failed itself."""
        self._over.set()
        self._thread.join()
        if self._failed is not None and error is None:
            raise self._failed

    def say(self, text: str, meanwhile: Callable[[], str]) -> None:
        """Print a line; ``meanwhile`` tells, from another thread, what is under way from now on.

        The one before is not asked any more once this returns.
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
