"""Ends runs whose worker died with its code server: Dagster's launcher watches them from there, and nobody else does.

Such a run stays at work in Dagster for ever, and holds its slot in a pool.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg

from strava_pipeline.defs.pools import free_slots

AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    *AT_WORK,
)


def end_dead_runs(
    instance: dg.DagsterInstance, runs: dg.RunsFilter, after_s: float, is_dead: Callable[[dg.DagsterRun], bool]
) -> None:
    """Mark those of ``runs`` as failed that began more than ``after_s`` ago and are dead, and free their slots."""
    for record in instance.get_run_records(runs):
        run = record.dagster_run
        if record.start_time is not None and record.start_time < time.time() - after_s and is_dead(run):
            instance.report_run_failed(run, "its process ended before the run did; what it had stored is kept")
            free_slots(instance, run.run_id)
