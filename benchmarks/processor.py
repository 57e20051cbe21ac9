"""Measures what work costs: wall time, and the processor time of this process and of its Postgres server.

On a machine with other work, processor time says more than wall time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat after the name: the parent, and ticks of the process and of its ended children.
PARENT = 1
OWN = slice(11, 13)
WITH_ENDED = slice(11, 15)


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time, and of processor time."""

    clock_s: float
    processor_s: float


def cost_of(server: int, work: Callable[[], object]) -> Cost:
    """Return what ``work`` costs in this process and in the Postgres server with the process id ``server``."""
    began, before = time.perf_counter(), both_seconds(server)
    work()
    return Cost(time.perf_counter() - began, both_seconds(server) - before)


def server_of(engine: Engine) -> int:
    """Return the process id of an engine's server, which must run on this machine."""
    with engine.connect() as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return int(_stat(backend)[PARENT])


def server_seconds(server: int) -> float:
    """Return the processor seconds that all processes of a Postgres server have used so far."""
    ticks = sum(map(int, _stat(server)[WITH_ENDED]))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = _stat(int(folder.name))
        except OSError:
            continue  # it has ended
        if int(stat[PARENT]) == server:
            ticks += sum(map(int, stat[OWN]))
    return ticks * TICK_S


def both_seconds(server: int) -> float:
    """Return the processor seconds that this process and a Postgres server have used so far."""
    return time.process_time() + server_seconds(server)


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
