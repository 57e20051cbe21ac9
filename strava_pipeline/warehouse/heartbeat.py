"""A thread that reports regularly that its process is alive, for leases in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.log_context import keeping_log_ids


@contextmanager
def heartbeat(beat: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call ``beat`` every ``every_s`` seconds during the block; calls go on while the database is unavailable."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every_s):
            try:
                beat()
            except DatabaseUnavailable:
                continue  # the block itself meets this fault, and decides

    thread = threading.Thread(target=keeping_log_ids(run), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
