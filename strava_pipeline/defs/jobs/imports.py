"""The jobs that work on imports, newest month first, and the schedules that launch what is due.

The bridge launches imports as well, sooner; the rows of ``ops.imports`` decide who does. Each run takes one task.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.assets.lake import file_metadata, write_lake_month
from strava_pipeline.defs.assets.progress import ProgressReporter, reporting
from strava_pipeline.defs.attempts import LAST_ATTEMPT
from strava_pipeline.defs.check_reports import as_listed, report_checks
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.month_link import month_link
from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import prepare
from strava_pipeline.defs.steps import ROW_COUNT, patience_of, span_metadata, translate_faults
from strava_pipeline.errors import ConfigurationError, ImportStopped
from strava_pipeline.import_runs import HISTORY_OP, NEWEST_MONTH_OP, fate_of_run, launch_tags, run_of
from strava_pipeline.months import Span
from strava_pipeline.names import NEWEST_PRIORITY, NO_RETRIES, PRIORITY_TAG, STEP_ASSETS, Asset, Job, Names
from strava_pipeline.own_process import CODE_SERVER
from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.launches import Fate, Launch, claim_launch, look_after, most_under_way
from strava_pipeline.warehouse.imports.runs import Task
from strava_pipeline.warehouse.migrate import open_warehouse
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


def newest_month_job(plan: Plan) -> dg.JobDefinition:
    """Make the job for newest months."""

    @dg.op(name=plan.names.op(NEWEST_MONTH_OP), out=NO_VALUE, pool=plan.pools().newest)
    def bring_newest_month(context: dg.OpExecutionContext, config: ImportConfig, strava_client: StravaResource) -> None:
        """Import the newest month of an athlete, and the one before; profile and zones first."""
        _work(context, config, strava_client)

    @our_job(plan, Job.NEWEST_MONTH, plan.names.lane_tags(Lane.BACKFILL), {PRIORITY_TAG: NEWEST_PRIORITY}, NO_RETRIES)
    def newest_month() -> None:
        """Imports the newest month of a new athlete."""
        bring_newest_month()

    return newest_month


def import_history_job(plan: Plan) -> dg.JobDefinition:
    """Make the job for all other months."""

    @dg.op(name=plan.names.op(HISTORY_OP), out=NO_VALUE, pool=plan.pools().imports)
    def bring_history(context: dg.OpExecutionContext, config: ImportConfig, strava_client: StravaResource) -> None:
        """List an athlete's history, or import the newest months that lack something, up to a year of them."""
        _work(context, config, strava_client)

    @our_job(plan, Job.IMPORT_HISTORY, plan.names.lane_tags(Lane.BACKFILL), NO_RETRIES)
    def import_history() -> None:
        """Imports what an athlete's history lacks, newest months first."""
        bring_history()

    return import_history


def _work(context: dg.OpExecutionContext, config: ImportConfig, strava: StravaResource) -> None:
    """Do the import's next task. A run whose import is paused, or has another run, ends well and does nothing."""
    warehouse = strava.warehouse
    settings = warehouse.load_settings()
    launch = Launch(config.import_id, config.launch_no, config.athlete_id)
    # Not retried by Dagster: the import is launched again after a pause.
    with translate_faults(LAST_ATTEMPT) as subject, patient(patience_of(context, warehouse).new()):
        subject.at_athlete(launch.athlete_id)
        try:
            kept = replace(warehouse.kept, archive_details=settings.archive_details)
            task = runs.begin(warehouse.engine, launch, context.run_id, earliest_month(settings), kept)
            if task is None:
                step_log(context).info("import %d lacks nothing that is due", launch.import_id)
                return
            if task.whole is not None:
                subject.at_spans(task.whole)
            step_log(context).info("import %d of athlete %d: %s", launch.import_id, launch.athlete_id, task)
            max_wait = OWN_QUOTA_MAX_WAIT if settings.quota_scope is QuotaScope.ATHLETE else None
            sync = strava.sync(Lane.BACKFILL, goes_first=task.kind is ImportTask.NEWEST_MONTH, max_wait=max_wait)
            with _hooks(context, warehouse, task, sync) as hooks:
                outcome = work_on_import(sync, task, earliest_month(settings), hooks)
        except ImportStopped as error:
            step_log(context).warning("%s", error)
            return
    if outcome.retry_at is not None:
        step_log(context).warning(
            "%s: the import goes on at %s", outcome.error, f"{outcome.retry_at:%Y-%m-%d %H:%M} UTC"
        )


@dataclass
class _Shown:
    """Shows an import's months in Dagster: each step of a month is a materialization of its asset."""

    context: dg.OpExecutionContext
    warehouse: WarehouseResource
    sync: SyncContext
    reporter: ProgressReporter | None = None
    assets: set[str] = field(default_factory=set)
    _requests: int = 0
    _listed: int = 0
    _absent: int = 0
    _file: dict[str, Any] = field(default_factory=dict)

    def begin_step(self, step: ImportStep) -> None:
        if self.reporter is not None:
            self.reporter.step = STEP_ASSETS[step]

    def done(self, step: ImportStep, result: SpanResult) -> None:
        self.assets.add(STEP_ASSETS[step])
        requests, self._requests = self.sync.monitor.requests - self._requests, self.sync.monitor.requests
        metadata = span_metadata(result) | {"requests": requests}
        if step is ImportStep.SUMMARY:
            rows = result.stored + result.unchanged
            metadata[ROW_COUNT] = rows - result.absent
            self._listed, self._absent = self._listed + rows, self._absent + result.absent
        if step is ImportStep.FIGURES:
            metadata |= month_link(self.warehouse.load_settings(), result.span)
        if step is ImportStep.LAKE:
            metadata = self._file
        key = cell(result.span.athlete_id, result.span.start)
        asset = dg.AssetKey(self.warehouse.names.asset_path(STEP_ASSETS[step]))
        self.context.log_event(dg.AssetMaterialization(asset, partition=key, metadata=metadata))

    def report_checks(self) -> None:
        """Report how the checks of the assets stand of which months were shown."""
        listed = as_listed(listed=self._listed, absent=self._absent) if Asset.ACTIVITIES in self.assets else None
        report_checks(self.context, self.warehouse, self.assets, listed)

    def write_lake(self, span: Span) -> SpanResult:
        month = write_lake_month(self.sync.engine, self.warehouse.load_settings(), span)
        self._file = file_metadata(month)
        return SpanResult(span, stored=int(month.written))


@contextmanager
def _hooks(
    context: dg.OpExecutionContext, warehouse: WarehouseResource, task: Task, sync: SyncContext
) -> Iterator[ImportHooks]:
    """Show the task's progress and its months while the block runs."""
    shown = _Shown(context, warehouse, sync)
    with ExitStack() as stack:
        if task.whole is not None:
            names = frozenset(STEP_ASSETS[step] for step in task.steps)
            progress = reporting(context, warehouse, sync, task.whole, Asset.ACTIVITIES, names)
            shown.reporter = stack.enter_context(progress)
        yield ImportHooks(shown.begin_step, shown.done, shown.write_lake)
    shown.report_checks()


def newest_months_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of newest months."""
    return _every_five_minutes(plan, Job.NEWEST_MONTH, "newest_months_every_five_minutes", "*/5 * * * *")


def imports_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of all other months."""
    return _every_five_minutes(plan, Job.IMPORT_HISTORY, "imports_every_five_minutes", "1-59/5 * * * *")


def _every_five_minutes(plan: Plan, job: str, name: str, cron: str) -> dg.ScheduleDefinition:
    """Make a schedule that launches imports of one kind, since a schedule has one job."""

    @dg.schedule(
        job_name=plan.names.job(job),
        name=plan.names.schedule(name),
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=plan.schedule_status,
    )
    def launch_due(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request runs for imports that are due, and look after those whose runs seem to be lost."""
        try:
            settings = plan.settings_with_database()
            with open_warehouse(settings, CODE_SERVER) as engine:
                prepare(context.instance, plan)
                look_after(engine, partial(_fate, context.instance, plan.names))
                floor, most, launched = earliest_month(settings), most_under_way(settings.runs_at_once), 0
                while launch := _claim(
                    engine, floor, most, newest=job == Job.NEWEST_MONTH, archive_details=settings.archive_details
                ):
                    launched += 1
                    run = run_of(plan.names, launch)
                    # With the time: a database that was restored from a backup numbers launches anew, which Dagster
                    # knows.
                    key = f"{launch.import_id}.{launch.launch_no} {time.time():.3f}"
                    yield dg.RunRequest(run_key=key, run_config=dict(run.run_config), tags=dict(run.tags))
        except ConfigurationError as error:
            yield dg.SkipReason(str(error))
            return
        if not launched:
            yield dg.SkipReason("no import is due, or enough are under way")

    return launch_due


def _claim(engine: Engine, floor: date, most: int, *, newest: bool, archive_details: bool) -> Launch | None:
    with engine.begin() as connection:
        return claim_launch(connection, floor, newest=newest, most=most, archive_details=archive_details)


def _fate(instance: dg.DagsterInstance, names: Names, launch: Launch) -> Fate:
    """The fate of the last run that a launch became, if Dagster knows one."""
    found = instance.get_run_records(dg.RunsFilter(tags=launch_tags(names, launch)), limit=1)
    if not found:
        return Fate.UNKNOWN
    (last,) = found
    return fate_of_run(
        last.dagster_run.status.value,
        started_at=last.start_time,
        changed_at=last.update_timestamp.timestamp(),
        moment=time.time(),
    )
