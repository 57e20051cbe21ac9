"""What work costs: the time on the clock, and the processor time of this process and of the database it works on.

The latter tells more on a machine that others use, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat, counted from behind the name: the parent, and ticks of a process and of its ended children.
PARENT = 1
OWN = slice(11, 13)
WITH_ENDED = slice(11, 15)


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of the processors."""

    clock_s: float
    processor_s: float


def cost_of(server: int, work: Callable[[], object]) -> Cost:
    """What ``work`` costs here and at the Postgres server with this process id."""
    began, before = time.perf_counter(), both_seconds(server)
    work()
    return Cost(time.perf_counter() - began, both_seconds(server) - before)


def server_of(engine: Engine) -> int:
    """The process id of the server behind an engine; it must run on this machine."""
    with engine.connect() as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return int(_stat(backend)[PARENT])


def server_seconds(server: int) -> float:
    """Processor seconds that a Postgres server has used so far, those of all its processes."""
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
    """Those of this process as well."""
    return time.process_time() + server_seconds(server)


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
