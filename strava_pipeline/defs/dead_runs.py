"""Ends runs whose worker died with its code server: Dagster's launcher watches them from there, and nobody else does.

Such a run stays at work in Dagster for ever, and holds its slot in a pool.

Whether a worker lives cannot be seen from here, but only whether it has work, by our tables. A living one may seem to
have none: it is about to end, or a database that was away let its lease lapse. But it takes its work back, or ends,
within seconds. So a run is dead once so many looks in a row, each some time after the last, found it without work. A
tag of the run counts them: a machine that slept, or a database that was away, makes no run dead by the time alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg

from strava_pipeline.defs.pools import free_slots
from strava_pipeline.names import NAMES

AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    *AT_WORK,
)
LOOKS = 10
# Schedules look every minute, or less often. Dagster catches up with missed minutes at once.
BETWEEN_LOOKS_SECONDS = 50.0
TOLD = "its process ended before the run did; what it had stored is kept"


def end_dead_runs(
    instance: dg.DagsterInstance, runs: dg.RunsFilter, is_without_work: Callable[[dg.RunRecord], bool]
) -> None:
    """Look at each of ``runs``, end those that are dead (failed, or canceled if a person did so), free their slots."""
    for record in instance.get_run_records(runs):
        run = record.dagster_run
        if _looks(instance, run, is_without_work=is_without_work(record)) < LOOKS:
            continue
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, TOLD)
        else:
            instance.report_run_failed(run, TOLD)
        free_slots(instance, run.run_id)


def _looks(instance: dg.DagsterInstance, run: dg.DagsterRun, *, is_without_work: bool) -> int:
    """How many looks in a row, with this one, found a run without work; the run's tag says so from now on."""
    moment = time.time()
    looks, last = _counted(run)
    if is_without_work and looks and abs(moment - last) < BETWEEN_LOOKS_SECONDS:
        return looks
    now = looks + 1 if is_without_work else 0
    if now != looks:
        instance.add_run_tags(run.run_id, {NAMES.silent_tag: f"{now} {moment:.0f}"})
    return now


def _counted(run: dg.DagsterRun) -> tuple[int, int]:
    """The looks that a run's tag counts, and when the last one was (epoch, s); a tag that is not ours counts none."""
    looks, _, last = run.tags.get(NAMES.silent_tag, "").partition(" ")
    return (int(looks), int(last)) if looks.isdecimal() and last.isdecimal() else (0, 0)
