"""Ends runs whose process died with its code server: Dagster's launcher watches them from there, and nobody else does.

Such a run stays at work in Dagster for ever, and holds a slot of its pool and one of all runs.

A run whose process is gone from this machine is dead at once. Any other shows that it lives by its tags
(:mod:`.signs_of_life`), and is dead once so many looks in a row, each some time after the last, found no new sign. A
tag of the run counts them: a machine that slept, a clock that was set, or a database that was away, makes no run dead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import dagster as dg

from strava_pipeline.defs.pools import free_slots
from strava_pipeline.defs.run_process import is_gone
from strava_pipeline.names import ALL_ASSETS, NAMES

AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    *AT_WORK,
)
MAY_BE_DEAD = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, *AT_WORK)
LOOKS = 10
# Schedules look every minute, or less often. Dagster catches up with missed minutes at once.
BETWEEN_LOOKS_SECONDS = 50.0
TOLD = "its process ended before the run did; what it had stored is kept"
_OUR_ASSETS = frozenset(map(dg.AssetKey, ALL_ASSETS))


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """End those of our runs that are dead (failed, or canceled if a person did so); returns how many there were."""
    # A run that a command executes in its own process begins as not started.
    seen = instance.get_runs(dg.RunsFilter(statuses=list(MAY_BE_DEAD)))
    return sum(_end(instance, run) for run in seen if _is_dead(instance, run))


def is_one_to_come(instance: dg.DagsterInstance, job: dg.JobDefinition) -> bool:
    """Whether a run of one of our jobs is in the queue or at work; call :func:`end_dead_runs` first."""
    # Another code location may have a job of this name.
    ours = {NAMES.lane_tag: job.tags[NAMES.lane_tag]}
    unended = dg.RunsFilter(job_name=job.name, statuses=list(UNFINISHED), tags=ours)
    return instance.get_runs_count(unended) > 0


def _is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if is_gone(_own_tag(instance, run, NAMES.process_tag)):
        return True
    return (
        run.status is not dg.DagsterRunStatus.NOT_STARTED
        and _shows_life_if_it_lives(instance, run)
        and _looks(instance, run) >= LOOKS
    )


def _shows_life_if_it_lives(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run is ours, and of a release that shows life."""
    if NAMES.beat_tag in run.tags:
        return True
    is_ours = not {NAMES.lane_tag, NAMES.job_tag}.isdisjoint(run.tags) or (
        run.asset_selection is not None and bool(run.asset_selection) and run.asset_selection <= _OUR_ASSETS
    )
    # A run shows life before its first step begins: without that it died before, or an earlier release executes it.
    return is_ours and not _has_begun_a_step(instance, run)


def _has_begun_a_step(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    return bool(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START))


def _looks(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    """How many looks in a row, with this one, found no new sign of life; the run's tag says so from now on."""
    moment, beat = time.time(), run.tags.get(NAMES.beat_tag, "")
    last = _Look.of(_own_tag(instance, run, NAMES.silent_tag))
    if last is not None and last.beat == beat:
        if abs(moment - last.at) < BETWEEN_LOOKS_SECONDS:
            return last.number
        look = _Look(last.number + 1, int(moment), beat)
    else:
        look = _Look(1, int(moment), beat)
    instance.add_run_tags(run.run_id, {NAMES.silent_tag: str(look)})
    return look.number


def _own_tag(instance: dg.DagsterInstance, run: dg.DagsterRun, name: str) -> str:
    """A tag of a run; empty if it has none, or that of the run which it executes again: Dagster copies them.

    If that one was deleted, nobody knows.
    """
    tag = run.tags.get(name, "")
    if not tag or run.parent_run_id is None:
        return tag
    parent = instance.get_run_by_id(run.parent_run_id)
    return "" if parent is None or parent.tags.get(name) == tag else tag


@dataclass(frozen=True)
class _Look:
    """One of the looks in a row that found the same sign of life, and when (epoch, s)."""

    number: int
    at: int
    beat: str

    @classmethod
    def of(cls, tag: str) -> _Look | None:
        """The look that a tag tells of; ``None`` if the tag is not ours."""
        number, at, beat = (*tag.split(" "), "", "", "")[:3]
        return cls(int(number), int(at), beat) if number.isdecimal() and at.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.number} {self.at} {self.beat}"


def _end(instance: dg.DagsterInstance, seen: dg.DagsterRun) -> bool:
    """End a run, unless it has ended since it was seen: what a process wrote before its end is there now."""
    run = instance.get_run_by_id(seen.run_id)
    if run is None or run.status not in MAY_BE_DEAD:
        return False
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, TOLD)
    else:
        instance.report_run_failed(run, TOLD)
    free_slots(instance, run.run_id)
    return True
