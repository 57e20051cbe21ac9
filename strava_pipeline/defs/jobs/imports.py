"""The jobs that work on imports, newest month first, and the schedules that launch what is due.

The bridge launches imports as well, sooner; the rows of ``ops.imports`` decide who does. Each run takes one task.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.assets.lake import file_metadata, write_lake_month
from strava_pipeline.defs.assets.month_pictures import month_pictures
from strava_pipeline.defs.assets.progress import ProgressReporter, reporting
from strava_pipeline.defs.attempts import LAST_ATTEMPT
from strava_pipeline.defs.dead_runs import end_dead_runs
from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.pools import set_up_pools
from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.defs.steps import patience_of, span_metadata, translate_faults
from strava_pipeline.errors import ImportStopped
from strava_pipeline.import_runs import HISTORY_OP, NEWEST_MONTH_OP, fate_of_run, launch_tags, run_of
from strava_pipeline.months import Span
from strava_pipeline.names import NAMES, NEWEST_PRIORITY, NO_RETRIES, PRIORITY_TAG, STEP_ASSETS, Asset, Job
from strava_pipeline.settings import QuotaScope, Settings, load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.launches import Fate, Launch, claim_launch, look_after
from strava_pipeline.warehouse.imports.runs import Task
from strava_pipeline.warehouse.patience import patient
from strava_pipeline.warehouse.retention import earliest_month
from strava_pipeline.warehouse.states import ImportStep, ImportTask

# Where athletes have limits of their own, one who has used theirs up holds no slot that others could use.
OWN_QUOTA_MAX_WAIT = timedelta(minutes=2)


class ImportConfig(dg.Config):
    """The launch of an import that a run takes up."""

    import_id: int
    launch_no: int
    athlete_id: int


@dg.op(name=NEWEST_MONTH_OP, pool=NAMES.newest_pool)
def bring_newest_month(
    context: dg.OpExecutionContext, config: ImportConfig, strava: StravaResource, warehouse: WarehouseResource
) -> None:
    """Import the newest month of an athlete, and the one before; profile and zones first."""
    _work(context, config, strava, warehouse)


@dg.op(name=HISTORY_OP, pool=NAMES.pool)
def bring_history(
    context: dg.OpExecutionContext, config: ImportConfig, strava: StravaResource, warehouse: WarehouseResource
) -> None:
    """List an athlete's history, or import the newest months that lack something, up to a year of them."""
    _work(context, config, strava, warehouse)


@dg.job(
    executor_def=dg.in_process_executor,
    name=Job.NEWEST_MONTH,
    tags=NAMES.lane_tags(Lane.BACKFILL) | {PRIORITY_TAG: NEWEST_PRIORITY} | NO_RETRIES,
)
def newest_month() -> None:
    """Imports the newest month of a new athlete."""
    bring_newest_month()


@dg.job(
    executor_def=dg.in_process_executor,
    name=Job.IMPORT_HISTORY,
    tags=NAMES.lane_tags(Lane.BACKFILL) | NO_RETRIES,
)
def import_history() -> None:
    """Imports what an athlete's history lacks, newest months first."""
    bring_history()


def _work(
    context: dg.OpExecutionContext, config: ImportConfig, strava: StravaResource, warehouse: WarehouseResource
) -> None:
    """Do the import's next task. A run whose import is paused, or has another run, ends well and does nothing."""
    settings = load_settings()
    launch = Launch(config.import_id, config.launch_no, config.athlete_id)
    # Not retried by Dagster: the import is launched again after a pause.
    with translate_faults(LAST_ATTEMPT) as subject, patient(patience_of(context, warehouse.engine).new()):
        subject.at_athlete(launch.athlete_id)
        try:
            task = runs.begin(warehouse.engine, launch, context.run_id, earliest_month(settings))
            if task is None:
                context.log.info("import %d lacks nothing that is due", launch.import_id)
                return
            if task.whole is not None:
                subject.at_spans(task.whole)
            context.log.info("import %d of athlete %d: %s", launch.import_id, launch.athlete_id, task)
            max_wait = OWN_QUOTA_MAX_WAIT if settings.quota_scope is QuotaScope.ATHLETE else None
            sync = strava.sync(Lane.BACKFILL, goes_first=task.kind is ImportTask.NEWEST_MONTH, max_wait=max_wait)
            with _hooks(context, task, sync, settings) as hooks:
                outcome = work_on_import(sync, task, earliest_month(settings), hooks)
        except ImportStopped as error:
            context.log.warning("%s", error)
            return
    if outcome.retry_at is not None:
        context.log.warning("%s: the import goes on at %s", outcome.error, f"{outcome.retry_at:%Y-%m-%d %H:%M} UTC")


@dataclass
class _Shown:
    """Shows an import's months in Dagster: each step of a month is a materialization of its asset."""

    context: dg.OpExecutionContext
    sync: SyncContext
    settings: Settings
    reporter: ProgressReporter | None = None
    _requests: int = 0
    _file: dict[str, Any] = field(default_factory=dict)

    def begin_step(self, step: ImportStep) -> None:
        if self.reporter is not None:
            self.reporter.step = STEP_ASSETS[step]

    def done(self, step: ImportStep, result: SpanResult) -> None:
        requests, self._requests = self.sync.monitor.requests - self._requests, self.sync.monitor.requests
        metadata = span_metadata(result) | {"requests": requests}
        if step is ImportStep.SUMMARY:
            metadata["dagster/partition_row_count"] = result.stored + result.unchanged - result.absent
        if step is ImportStep.FIGURES and result.stored:
            metadata |= month_pictures(self.sync.engine, result.span)
        if step is ImportStep.LAKE:
            metadata = self._file
        key = cell(result.span.athlete_id, result.span.start)
        self.context.log_event(dg.AssetMaterialization(STEP_ASSETS[step], partition=key, metadata=metadata))

    def write_lake(self, span: Span) -> SpanResult:
        month = write_lake_month(self.sync.engine, self.settings, span)
        self._file = file_metadata(month)
        return SpanResult(span, stored=int(month.written))


@contextmanager
def _hooks(context: dg.OpExecutionContext, task: Task, sync: SyncContext, settings: Settings) -> Iterator[ImportHooks]:
    """Show the task's progress and its months while the block runs."""
    shown = _Shown(context, sync, settings)
    with ExitStack() as stack:
        if task.whole is not None:
            names = frozenset(STEP_ASSETS[step] for step in task.steps)
            shown.reporter = stack.enter_context(reporting(context, sync, task.whole, Asset.ACTIVITIES, names))
        yield ImportHooks(shown.begin_step, shown.done, shown.write_lake)


def _every_minute(job: dg.JobDefinition, name: str, *, newest: bool) -> dg.ScheduleDefinition:
    """A schedule that launches imports of one kind, since a schedule has one job."""

    @dg.schedule(job=job, name=name, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
    def launch_due(
        context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request runs for imports that are due, and look after those whose runs seem to be lost."""
        set_up_pools(context.instance)  # where neither `up` nor a command does it
        end_dead_runs(context.instance)
        look_after(warehouse.engine, partial(_fate, context.instance))
        floor, launched = earliest_month(load_settings()), 0
        while launch := _claim(warehouse.engine, floor, newest=newest):
            launched += 1
            run = run_of(launch)
            # With the time: a database that was restored from a backup numbers launches anew, which Dagster knows.
            key = f"{launch.import_id}.{launch.launch_no} {time.time():.3f}"
            yield dg.RunRequest(run_key=key, run_config=dict(run.run_config), tags=dict(run.tags))
        if not launched:
            yield dg.SkipReason("no import is due, or enough are under way")

    return launch_due


newest_months_every_minute = _every_minute(newest_month, "newest_months_every_minute", newest=True)
imports_every_minute = _every_minute(import_history, "imports_every_minute", newest=False)


def _claim(engine: Engine, floor: date, *, newest: bool) -> Launch | None:
    with engine.begin() as connection:
        return claim_launch(connection, floor, newest=newest)


def _fate(instance: dg.DagsterInstance, launch: Launch) -> Fate:
    """The fate of the last run that a launch became, if Dagster knows one."""
    found = instance.get_run_records(dg.RunsFilter(tags=launch_tags(launch)), limit=1)
    if not found:
        return Fate.UNKNOWN
    (last,) = found
    return fate_of_run(
        last.dagster_run.status.value,
        started_at=last.start_time,
        changed_at=last.update_timestamp.timestamp(),
        moment=time.time(),
    )
