"""Waits for work of other threads, processes and sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# A working machine answers at once; a machine under load takes its time, and that is no failure.
PATIENCE_SECONDS = 200
LOOK_SECONDS = 0.01

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], awaited: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Return the first true result of ``look``, called again and again.

    Between two looks the processor is left to the work that is waited for. ``AssertionError`` that names
    ``awaited`` if there is no true result after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"never: {awaited}"
        time.sleep(LOOK_SECONDS)
    return found
