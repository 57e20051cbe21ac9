"""Dagster as its clients see it: runs are launched, wait for a slot, are at work and end; and it may be away."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import dagster as dg

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.import_runs import launch_tags
from strava_pipeline.names import Job
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.imports.launches import Fate, Launch
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.placed import PLACE
from strava_pipeline_tests.simulated.crew import Crew
from webhook_bridge.dagster_server import DagsterUnavailable
from webhook_bridge.place import Place

log = get_logger(__name__)

# Runs at work at a time, by job; webhooks have what the pools leave.
SLOTS: dict[str, int] = {
    Job.WEBHOOK_SYNC: 3, Job.NEWEST_MONTH: 2, Job.IMPORT_HISTORY: 4, "upkeep": 1, "retention": 1, "update_lake": 1,
}  # fmt: skip
Work = Callable[[Mapping[str, Any], str], object]


class RunState(Enum):
    """What has become of a run."""

    QUEUED = auto()
    AT_WORK = auto()
    ENDED = auto()


STATES = {dg.DagsterRunStatus.QUEUED: RunState.QUEUED, dg.DagsterRunStatus.STARTED: RunState.AT_WORK}


@dataclass(eq=False)
class Run:
    """A run of a job, with the config of its first op."""

    run_id: str
    job: str
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    launched_at: float
    state: RunState = RunState.QUEUED
    began_at: float | None = None


@dataclass(frozen=True)
class Failure:
    """A run that failed: when (epoch s), its job, and the class and text of the error."""

    at: float
    job: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M} a run of {self.job}: {self.kind}: {self.text}"


@dataclass
class SimulatedDagster:
    """Runs ``jobs``, functions of a run's config and id."""

    crew: Crew
    jobs: dict[str, Work] = field(default_factory=dict)
    is_away: bool = False
    failures: list[Failure] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    _unended: dict[str, Run] = field(default_factory=dict)
    _queued: dict[str, deque[Run]] = field(default_factory=lambda: {job: deque() for job in SLOTS})
    _at_work: Counter[str] = field(default_factory=Counter)

    def launch_run(
        self, _: object, __: object, job: str, run_config: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        """Launch a run, as :func:`webhook_bridge.dagster_api.launch_run` has it done."""
        self._refuse_while_away()
        config = next(iter(run_config["ops"].values()))["config"] if run_config else {}
        run = Run(str(uuid4()), job, config, tags, self.crew.time.now)
        self.runs[run.run_id] = self._unended[run.run_id] = run
        self._queued[job].append(run)
        self.start_queued()
        return run.run_id

    def find_place(self, _: object) -> Place:
        """Return where our definitions are."""
        self._refuse_while_away()
        return PLACE

    def runs_to_come(self, _: object, run_ids: Iterable[str]) -> set[str]:
        """Return which runs are in the queue or at work."""
        self._refuse_while_away()
        return {run_id for run_id in run_ids if run_id in self.runs and self.runs[run_id].state is not RunState.ENDED}

    def fate_of(self, _: object, launch: Launch) -> Fate:
        """Return what became of the run of an import's launch."""
        self._refuse_while_away()
        fates = {RunState.QUEUED: Fate.TO_COME, RunState.AT_WORK: Fate.AT_WORK, RunState.ENDED: Fate.ENDED}
        wanted = launch_tags(NAMES, launch).items()
        found = [run for run in self.runs.values() if wanted <= run.tags.items()]
        return fates[found[-1].state] if found else Fate.UNKNOWN

    def change_partitions(self, *_: object) -> int:
        """Add or delete partitions, materializations or runs, as the bridge asks; none are left."""
        self._refuse_while_away()
        return 0

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance, as far as schedules look at it."""
        return cast("dg.DagsterInstance", self)

    def get_runs_count(self, wanted: dg.RunsFilter) -> int:
        """How many runs a schedule finds."""
        return sum(1 for _ in self._found(wanted))

    def get_runs(self, wanted: dg.RunsFilter) -> list[SimpleNamespace]:
        """The runs at work that a schedule looks at for dead ones; each shows at every look that it lives."""
        sign = {NAMES.beat_tag: str(self.crew.time.now)}
        return [
            SimpleNamespace(run_id=run.run_id, tags={**run.tags, **sign}, status=dg.DagsterRunStatus.STARTED)
            for run in self._unended.values()
            if run.state is RunState.AT_WORK and dg.DagsterRunStatus.STARTED in wanted.statuses
        ]

    def add_run_tags(self, run_id: str, _: Mapping[str, str]) -> None:
        """Forget what a look noted: the next one sees another sign of life."""
        assert run_id in self._unended

    def get_run_by_id(self, run_id: str) -> None:
        """Refuse to end a run at work: those whose worker was killed have ended."""
        raise AssertionError(f"a run of {self.runs[run_id].job} is at work, and is taken for dead")

    def _found(self, wanted: dg.RunsFilter) -> Iterator[Run]:
        states = {STATES[status] for status in wanted.statuses if status in STATES}
        tags = (wanted.tags or {}).items()
        return (
            run
            for run in self._unended.values()
            if run.job == wanted.job_name and run.state in states and tags <= run.tags.items()
        )

    def start_queued(self) -> None:
        """Let queued runs begin where slots are free."""
        for job, queue in self._queued.items():
            while queue and self._at_work[job] < SLOTS[job] and not self.is_away:
                run = queue.popleft()
                run.state, run.began_at = RunState.AT_WORK, self.crew.time.now
                self._at_work[job] += 1
                self.crew.start(f"{job} {run.run_id}", partial(self._work, run), partial(self._ended, run))

    def _work(self, run: Run) -> None:
        """Let a run do its job: an error of ours fails it, an error that nobody thought of ends the simulation."""
        try:
            self.jobs[run.job](run.config, run.run_id)
        except StravaPipelineError as error:
            log.warning("run of %s failed: %s", run.job, error)
            self.failures.append(Failure(self.crew.time.now, run.job, type(error).__name__, str(error)))

    def _ended(self, run: Run) -> None:
        run.state = RunState.ENDED
        del self._unended[run.run_id]
        self._at_work[run.job] -= 1
        self.crew.time.wake()

    def _refuse_while_away(self) -> None:
        if self.is_away:
            raise DagsterUnavailable("Dagster cannot be reached")
