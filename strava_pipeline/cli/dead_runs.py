"""Ends the runs of a command's own process when that process is interrupted, and those of processes that died."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

from strava_pipeline.defs.pools import free_slots
from strava_pipeline.names import NAMES
from strava_pipeline.sync.stopping import stop_wanted

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun


def process_tag() -> dict[str, str]:
    """A tag that names a run's process: host, process id, and the process's start (epoch s), since ids are reused."""
    return {NAMES.process_tag: f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"}


def end_dead_runs(instance: DagsterInstance) -> int:
    """Mark the unfinished runs of this machine's dead processes as failed; returns how many there were."""
    dead = [run for run in _unfinished(instance) if _is_dead(run.tags.get(NAMES.process_tag, ""))]
    for run in dead:
        instance.report_run_failed(run, "its process ended before the run did; what it had stored is kept")
        free_slots(instance, run.run_id)
    return len(dead)


def cancel_own_runs(instance: DagsterInstance, wait: Callable[[], object]) -> list[str]:
    """Ask this process's runs to end, call ``wait``, and mark those left as canceled; returns the ids of all."""
    ours = _unfinished(instance, process_tag())
    for run in ours:
        instance.report_run_canceling(run)
    stop_wanted.set()
    wait()
    for run in _unfinished(instance, process_tag()):
        instance.report_run_canceled(run, "its process was ended by a signal; what it had stored is kept")
        free_slots(instance, run.run_id)
    return [run.run_id for run in ours]


def _unfinished(instance: DagsterInstance, tags: dict[str, str] | None = None) -> list[DagsterRun]:
    import dagster as dg

    # A run that is executed in process is neither queued nor launched; it begins as not started.
    statuses = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    return list(instance.get_runs(dg.RunsFilter(statuses=statuses, tags=tags or {})))


def _is_dead(tag: str) -> bool:
    host, _, rest = tag.partition(" ")
    if host != socket.gethostname():
        return False  # processes of another machine cannot be seen from here
    number, _, began = rest.partition(" ")
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" != began
    except (psutil.NoSuchProcess, ValueError):
        return True
