"""How a worker waits, and how it extends its leases meanwhile; a simulation replaces both."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from strava_pipeline.warehouse.heartbeat import heartbeat


@dataclass(frozen=True)
class Pauses:
    """``sleep`` lets a time in seconds pass; ``heartbeat`` is as :func:`.heartbeat.heartbeat`."""

    sleep: Callable[[float], None] = time.sleep
    heartbeat: Callable[[Callable[[], object], float], AbstractContextManager[None]] = heartbeat


REAL_PAUSES = Pauses()
