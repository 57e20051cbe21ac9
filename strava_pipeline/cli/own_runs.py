"""Ends the runs of a command's own process when that process is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from strava_pipeline.defs.pools import free_slots
from strava_pipeline.defs.run_process import process_tag
from strava_pipeline.names import OWN_NAMES
from strava_pipeline.sync.stopping import stop_wanted

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun


def cancel_own_runs(instance: DagsterInstance, wait: Callable[[], object]) -> list[str]:
    """Ask this process's runs to end, call ``wait``, and mark those left as canceled; returns the ids of all."""
    ours = _unfinished(instance, process_tag(OWN_NAMES))
    for run in ours:
        instance.report_run_canceling(run)
    stop_wanted.set()
    wait()
    for run in _unfinished(instance, process_tag(OWN_NAMES)):
        instance.report_run_canceled(run, "its process was ended by a signal; what it had stored is kept")
        free_slots(instance, run.run_id)
    return [run.run_id for run in ours]


def _unfinished(instance: DagsterInstance, tags: dict[str, str]) -> list[DagsterRun]:
    import dagster as dg

    # A run that is executed in process is neither queued nor launched; it begins as not started.
    statuses = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    return list(instance.get_runs(dg.RunsFilter(statuses=statuses, tags=tags)))
