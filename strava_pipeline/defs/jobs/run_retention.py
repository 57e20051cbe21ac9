"""The job that deletes Dagster's old runs of ours, once a day, and sooner again if it has not come to its end."""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.dead_runs import is_one_to_come
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.run_retention import Cursor, Lives, Look
from strava_pipeline.defs.schedules import schedule_of_due_work
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import NO_RETRIES, Job, Names
from strava_pipeline.settings import Settings

# A run looks at no further run after this time. The next one goes on.
WORKS_FOR_SECONDS = 600.0
EVERY = timedelta(hours=23)
# Of the job's last runs, so many are searched for the cursor; without one, a look begins anew, which only takes longer.
_LAST_RUNS = 100


def run_retention_job(plan: Plan) -> dg.JobDefinition:
    """Make the job that deletes old runs."""

    @dg.op(name=plan.names.op("delete_old_runs"), out=NO_VALUE, pool=plan.pools().upkeep)
    def delete_old_runs(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
        """Delete runs past STRAVA_RUN_RETENTION_DAYS, but for the last of each partition."""
        _delete_runs(context, strava_warehouse)

    @our_job(plan, Job.RUN_RETENTION, NO_RETRIES)
    def run_retention() -> None:
        """Deletes old runs; a partition keeps the run that materialized it last."""
        delete_old_runs()

    return run_retention


def _delete_runs(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    ends_at, names = time.monotonic() + WORKS_FOR_SECONDS, warehouse.names
    look = Look(
        context.instance,
        names,
        lives_of(warehouse.load_settings()),
        datetime.now(UTC),
        _last_cursor(context.instance, names),
        is_own=warehouse.is_own,
        goes_on=lambda: time.monotonic() < ends_at,
    )
    with translate_faults(attempts_of(context)):
        for _ in look.work():
            _keep(context, names, look.cursor)
        _keep(context, names, look.cursor)
    rest = "; the rest is for the next run" if look.cursor.complete_at is None else ""
    step_log(context).info("%d runs deleted, %d looked at%s", look.deleted, look.seen, rest)
    context.add_output_metadata({"deleted": look.deleted, "looked at": look.seen})


def run_retention_every_hour(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule that deletes old runs once a day, and sooner again if the last run has not come to its end."""
    return schedule_of_due_work(plan, Job.RUN_RETENTION, "run_retention_every_hour", "28 * * * *", why_no_run)


def why_no_run(instance: dg.DagsterInstance, _: Engine, plan: Plan) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    if not lives_of(plan.load_settings()).ends(datetime.now(UTC)):
        return "runs are kept for ever"
    complete_at = _last_cursor(instance, plan.names).complete_at
    # A time ahead was written before the clock was set back.
    if complete_at is not None and timedelta() <= datetime.now(UTC) - complete_at < EVERY:
        return "old runs were deleted less than a day ago"
    return "the last run has not ended" if is_one_to_come(instance, plan.names, Job.RUN_RETENTION) else None


def lives_of(settings: Settings) -> Lives:
    """How long the settings keep runs."""
    days = (settings.run_retention_days, settings.failed_run_retention_days)
    succeeded, failed = (timedelta(days=number) if number else None for number in days)
    return Lives(succeeded, failed)


def _keep(context: dg.OpExecutionContext, names: Names, cursor: Cursor) -> None:
    """Keep the cursor with the run: a Dagster that is restored from a backup has the one that fits its runs."""
    context.instance.add_run_tags(context.run_id, {names.cursor_tag: str(cursor)})


def _last_cursor(instance: dg.DagsterInstance, names: Names) -> Cursor:
    ours = dg.RunsFilter(job_name=names.job(Job.RUN_RETENTION), tags=names.job_tags(Job.RUN_RETENTION))
    told = (run.tags.get(names.cursor_tag) for run in instance.get_runs(ours, limit=_LAST_RUNS))
    return next((Cursor.of(text) for text in told if text is not None), Cursor())
