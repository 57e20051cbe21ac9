"""Ends runs whose process died with its code server: Dagster's launcher watches them from there, and nobody else does.

Such a run stays at work in Dagster for ever, and holds a slot of its pool and one of all runs.

A run whose process is gone from this machine is dead at once. Any other shows that it lives by its tags
(:mod:`.signs_of_life`), and is dead once so many looks in a row, each some time after the last, found no new sign. A
tag of the run counts them: a machine that slept, a clock that was set, or a database that was away, makes no run dead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from strava_pipeline.defs.our_runs import is_in_one_process
from strava_pipeline.defs.pools import free_slots
from strava_pipeline.names import PREFIX_TAG, Names
from strava_pipeline.process_identity import is_gone

AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    *AT_WORK,
)
MAY_BE_DEAD = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, *AT_WORK)
LOOKS = 10
# Five schedules look, each every five minutes, so that one looks each minute. Dagster catches up with missed minutes at
# once.
BETWEEN_LOOKS_SECONDS = 50.0
TOLD = "its process ended before the run did; what it had stored is kept"


def end_dead_runs(instance: dg.DagsterInstance, names: Names, *, is_own: bool) -> int:
    """End those of our runs that are dead (failed, or canceled if a person did so); returns how many there were.

    Only runs that one process executes are looked at. ``is_own``: whether the deployment is our own. In a host's, a run
    that has not begun is left to the host's own watch: its launcher may take long to find it a place.
    """
    # A run that a command executes in its own process begins as not started.
    seen = instance.get_runs(dg.RunsFilter(statuses=list(MAY_BE_DEAD if is_own else AT_WORK)))
    ours = [run for run in seen if is_in_one_process(run, names, is_own=is_own)]
    return sum(_end(instance, run) for run in ours if _is_dead(instance, names, run))


def is_one_to_come(instance: dg.DagsterInstance, names: Names, job: str, tags: Mapping[str, str] | None = None) -> bool:
    """Whether a run of one of our jobs (plain name), with these tags, is in the queue or at work.

    Call :func:`end_dead_runs` first.
    """
    # Another code location may have a job of this name.
    ours = {PREFIX_TAG: names.tag_value, **(tags or {})}
    unended = dg.RunsFilter(job_name=names.job(job), statuses=list(UNFINISHED), tags=ours)
    return instance.get_runs_count(unended) > 0


def _is_dead(instance: dg.DagsterInstance, names: Names, run: dg.DagsterRun) -> bool:
    if is_gone(_own_tag(instance, run, names.process_tag)):
        return True
    return (
        run.status is not dg.DagsterRunStatus.NOT_STARTED
        and _shows_life_if_it_lives(instance, names, run)
        and _looks(instance, names, run) >= LOOKS
    )


def _shows_life_if_it_lives(instance: dg.DagsterInstance, names: Names, run: dg.DagsterRun) -> bool:
    """Whether a run of ours is of a release that shows life."""
    # A run shows life before its first step begins: without that it died before, or an earlier release executes it.
    return names.beat_tag in run.tags or not _has_begun_a_step(instance, run)


def _has_begun_a_step(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    return bool(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START))


def _looks(instance: dg.DagsterInstance, names: Names, run: dg.DagsterRun) -> int:
    """How many looks in a row, with this one, found no new sign of life; the run's tag says so from now on."""
    moment, beat = time.time(), run.tags.get(names.beat_tag, "")
    last = _Look.of(_own_tag(instance, run, names.silent_tag))
    if last is not None and last.beat == beat:
        if abs(moment - last.at) < BETWEEN_LOOKS_SECONDS:
            return last.number
        look = _Look(last.number + 1, int(moment), beat)
    else:
        look = _Look(1, int(moment), beat)
    instance.add_run_tags(run.run_id, {names.silent_tag: str(look)})
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
