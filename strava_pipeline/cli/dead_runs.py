"""Runs that a command executed in its own process, and that ended with it, be it by kill -9."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from dagster import DagsterInstance

PROCESS_TAG = "strava/process"


def process_tag() -> dict[str, str]:
    """Tells in which process a run is: host, process id, and the process's start, since ids come round again."""
    return {PROCESS_TAG: f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"}


def end_dead_runs(instance: DagsterInstance) -> int:
    """Mark as failed what this machine's dead processes left as running; returns how many there were."""
    import dagster as dg

    running = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    dead = [run for run in instance.get_runs(running) if _is_dead(run.tags.get(PROCESS_TAG, ""))]
    for run in dead:
        instance.report_run_failed(run, "its process ended before the run did; what it had stored is there")
    return len(dead)


def _is_dead(tag: str) -> bool:
    host, _, rest = tag.partition(" ")
    if host != socket.gethostname():
        return False  # nobody here can tell
    number, _, began = rest.partition(" ")
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" != began
    except (psutil.NoSuchProcess, ValueError):
        return True
