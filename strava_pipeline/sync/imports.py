"""Works on imports: a run takes one task, newest months first, and each month is whole before an older one is begun.

Which task is next is decided by :mod:`strava_pipeline.warehouse.imports.runs` from the tables, so a run that dies
repeats nothing that is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial

from strava_pipeline.errors import (
    AppInactive,
    DatabaseUnavailable,
    ImportStopped,
    MissingScope,
    NotAnswered,
    QuotaExhausted,
    RejectedRequest,
    StravaError,
    StravaPipelineError,
)
from strava_pipeline.months import Span, enclosing_span
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.monitor import Wait
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.context import SpanResult, SyncContext, request_time
from strava_pipeline.sync.history import import_history, import_months
from strava_pipeline.sync.months_at_work import FailedMonth, MonthsFailed, each_month
from strava_pipeline.warehouse.engine import autocommit, retry_transaction
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.failed_months import steps_for_later
from strava_pipeline.warehouse.imports.lacking import Lacking
from strava_pipeline.warehouse.imports.runs import BEAT_SECONDS, Outcome, Task
from strava_pipeline.warehouse.states import ImportStep, ImportTask

log = get_logger(__name__)

# While a run waits, it looks this often whether its import is still to be worked on.
LOOK_EVERY_SECONDS = 2.0
# An app that Strava has switched off is on again when a person has paid; it is tried again after this time.
APP_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True)
class ImportHooks:
    """What a run of an import does beside its task, each month.

    ``begin_step`` is called before a step; ``done`` after a step of a month, with its result. ``write_lake`` writes a
    month's file in the lake; ``stored`` is 1 if it changed.
    """

    begin_step: Callable[[ImportStep], None]
    done: Callable[[ImportStep, SpanResult], None]
    write_lake: Callable[[Span], SpanResult]


def work_on_import(sync: SyncContext, task: Task, floor: date, hooks: ImportHooks) -> Outcome:
    """Work on a task that :func:`.runs.begin` gave, while its lease is extended, and end the run; return the outcome.

    ``ImportStopped`` if the import was paused meanwhile, or has another run. ``MonthsFailed`` if months failed: all
    others were worked on. An error of the profile alone is raised in the end, after the months; the profile lacks then,
    and the import is tried again. Any error but one of this project's is a fault of this program, and raised as well.
    """
    work = _Work(sync, task, floor, hooks)
    try:
        with sync.pauses.heartbeat(partial(runs.extend, sync.engine, task.launch), BEAT_SECONDS), work.looking():
            outcome = work.do()
    except ImportStopped:
        work.end(Outcome())
        raise
    except Exception as error:
        # The text of a fault of this program may hold anything.
        reason = str(error) if isinstance(error, StravaPipelineError) else type(error).__name__
        work.end(Outcome(error=reason))
        raise
    outcome = work.end(outcome)
    if work.failed:
        raise MonthsFailed(list(work.failed.values()), len(task.months)) from work.profile_error
    if work.profile_error is not None and outcome.retry_at is None:
        raise work.profile_error
    return outcome


@dataclass
class _Work:
    sync: SyncContext
    task: Task
    floor: date
    hooks: ImportHooks
    failed: dict[Span, FailedMonth] = field(default_factory=dict)
    profile_error: StravaError | None = None
    _lacked: Lacking = field(init=False)
    _looked_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._lacked = self.task.lacked

    def end(self, outcome: Outcome) -> Outcome:
        """End the run, and return its outcome with the progress that it made."""
        lacked, kept = self._lacked, self.sync.kept
        ending = partial(runs.end, launch=self.task.launch, outcome=outcome, floor=self.floor, lacked=lacked, kept=kept)
        return retry_transaction(self.sync.engine, ending)

    def do(self) -> Outcome:
        """Do the task; an error that will pass by itself is part of the outcome."""
        try:
            if self.task.profile:
                self._bring_profile()
            if self.task.kind in {ImportTask.NEWEST_MONTH, ImportTask.LISTING}:
                newest = self._list()
            if self.task.kind is ImportTask.NEWEST_MONTH and newest is not None:
                self._look_what_lacks()
                self._fill(newest)
            if self.task.kind is ImportTask.MONTHS:
                for month in self.task.months:
                    self._fill(self.task.span_of(month))
        except QuotaExhausted as error:
            return Outcome(error=str(error), retry_at=error.retry_at)
        except AppInactive as error:
            return Outcome(error=str(error), retry_at=request_time(self.sync) + APP_PAUSE)
        reason = None if self.profile_error is None else f"the profile is left out: {self.profile_error}"
        return Outcome(error=reason, newest_is_done=self.task.kind is ImportTask.NEWEST_MONTH)

    def _bring_profile(self) -> None:
        """Import the profile; an error that is about the profile alone is kept, and the months are worked on."""
        athlete_id = self.task.launch.athlete_id
        try:
            import_athlete(self.sync, athlete_id)
        except (MissingScope, NotAnswered, RejectedRequest) as error:
            log.warning("the profile of athlete %d is left out, and is tried again later: %s", athlete_id, error)
            self.profile_error = error

    def _list(self) -> Span | None:
        """List the task's months; return the newest that has activities."""
        self.hooks.begin_step(ImportStep.SUMMARY)
        spans = [self.task.span_of(month) for month in self.task.months]
        if self.task.is_history:
            listed = import_history(self.sync, enclosing_span(spans))
        else:
            listed = import_months(self.sync, spans)
        newest = None
        for result in self._done(ImportStep.SUMMARY, listed):
            if newest is None and result.stored + result.unchanged:
                newest = result.span
        return newest

    def _look_what_lacks(self) -> None:
        """Of a new athlete only the listing tells what lacks."""
        with autocommit(self.sync.engine) as connection:
            self._lacked = runs.lacks_now(connection, self.task.launch, self.floor, self.sync.kept)

    def _fill(self, span: Span) -> None:
        """Fetch, compute and write whatever a month lacks; a step that fails does not keep the next from its work.

        A step that failed before waits for its time.
        """
        with autocommit(self.sync.engine) as connection:
            later = steps_for_later(connection, span)
        steps: dict[ImportStep, Callable[[Span], SpanResult]] = {
            ImportStep.DETAIL: partial(import_details, self.sync, due=True),
            ImportStep.STREAMS: partial(import_streams, self.sync, due=True),
            ImportStep.FIGURES: partial(analyse_span, self.sync.engine),
            ImportStep.LAKE: self.hooks.write_lake,
        }
        for step, work in steps.items():
            if step in self.task.steps and step not in later:
                self._refuse_stopped()
                self.hooks.begin_step(step)
                for _ in self._done(step, each_month(self.sync.engine, step, [span], work)):
                    pass

    def _done(self, step: ImportStep, results: Iterable[SpanResult | FailedMonth]) -> Iterator[SpanResult]:
        """Show and yield the results of months that were done; keep each month that failed, with its first reason."""
        for result in results:
            if isinstance(result, FailedMonth):
                self.failed.setdefault(result.span, result)
            else:
                self.hooks.done(step, result)
                yield result

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look, at each request and wait of the block, whether the import is still to be worked on."""
        report = self.sync.monitor.on_change

        def look(waiting: Wait | None) -> None:
            report(waiting)
            self._refuse_stopped()

        self.sync.monitor.on_change = look
        try:
            yield
        finally:
            self.sync.monitor.on_change = report

    def _refuse_stopped(self) -> None:
        moment = time.monotonic()
        if moment - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = moment
            with suppress(DatabaseUnavailable):  # the work itself meets this fault
                runs.refuse_stopped(self.sync.engine, self.task.launch)
