"""Waits for work of other threads, processes and sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# A working machine answers at once; a machine under load takes its time, and that is no failure.
PATIENCE_SECONDS = 300
LOOK_SECONDS = 0.01
# What takes long is not looked at so often: a look asks a server, and that costs the processor that is waited for.
LONGEST_LOOK_SECONDS = 0.05

Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], awaited: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Return the first true result of ``look``, called again and again.

    Between two looks the processor is left to the work that is waited for. ``AssertionError`` that names
    ``awaited`` if there is no true result after ``seconds``.
    """
    began = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - began
        assert waited < seconds, f"never: {awaited}"
        time.sleep(min(max(LOOK_SECONDS, waited / 10), LONGEST_LOOK_SECONDS))
    return found
