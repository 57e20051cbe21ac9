"""Every night: removes data whose retention has ended."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.assets.lake import write_lake_month
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import schedule_of_due_work
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import Job
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.record_lives import remove_done_events, remove_old_audits, remove_old_records
from strava_pipeline.warehouse.retention import keep_from, remove_activities_before


def retention_job(plan: Plan) -> dg.JobDefinition:
    """Make the job of retention."""

    @dg.op(name=plan.names.op("remove_old_activities"), out=NO_VALUE, pool=plan.pools().upkeep)
    def remove_old_activities(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
        """Remove activities older than STRAVA_RETENTION_DAYS with all dependent rows, and their samples in the lake."""
        _remove_activities(context, strava_warehouse)

    @dg.op(name=plan.names.op("remove_records"), out=NO_VALUE, pool=plan.pools().upkeep)
    def remove_records(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
        """Remove old records of calls, rate windows, backfills, sign-ins, audits and finished events.

        Addresses that were not confirmed in time are erased, too. Files that were left to another athlete, whose
        activity is gone, become activities.
        """
        _remove_records(context, strava_warehouse)

    @our_job(plan, Job.RETENTION)
    def retention() -> None:
        """Removes data whose retention has ended, and logs how much."""
        remove_old_activities()
        remove_records()

    return retention


def _remove_activities(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    settings = warehouse.load_settings()
    moment = keep_from(settings)
    if moment is None:
        step_log(context).info("STRAVA_RETENTION_DAYS is not set: all activities are kept")
        return
    from strava_pipeline.warehouse.lake_files import months_before  # noqa: PLC0415  slow to load, only needed here

    with translate_faults(attempts_of(context)):
        removed = remove_activities_before(warehouse.engine, moment, handed_in=settings.retention_files)
        months = sum(
            write_lake_month(warehouse.engine, settings, span).written
            for span in months_before(settings.lake_location(), moment)
        )
    _report(
        context, removed | ({"months in the lake": months} if months else {}), f"before {moment:%Y-%m-%d %H:%M} UTC"
    )


def _remove_records(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    from strava_pipeline.sync.archive_recordings import read_freed_files  # noqa: PLC0415  as slow to load
    from strava_pipeline.warehouse.upload_files import tidy_uploads  # noqa: PLC0415  slow to load, only needed here

    settings = warehouse.load_settings()
    with translate_faults(attempts_of(context)):
        removed = remove_old_records(warehouse.engine)
        if files := tidy_uploads(warehouse.engine, settings.upload_location()):
            removed["files of uploads"] = files
        if keep := settings.audit_retention_days:
            removed |= remove_old_audits(warehouse.engine, timedelta(days=keep))
        if keep := settings.inbox_retention_days:
            removed |= remove_done_events(warehouse.engine, timedelta(days=keep))
        # Last: a file that cannot be read just now keeps nothing from being removed.
        read_freed_files(warehouse.engine)
        note_success(warehouse.engine, PeriodicJob.RETENTION)
    _report(context, removed, f"at {datetime.now(UTC):%Y-%m-%d}")


def retention_every_night(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of retention, which has something to remove each night."""
    return schedule_of_due_work(plan, Job.RETENTION, "retention_every_night", "43 3 * * *", _is_due)


def _is_due(_: dg.DagsterInstance, __: Engine, ___: Plan) -> None:
    """Return no reason against a run."""


def _report(context: dg.OpExecutionContext, removed: dict[str, int], when: str) -> None:
    listed = ", ".join(f"{rows} of {name}" for name, rows in sorted(removed.items()))
    step_log(context).info("removed %s: %s", when, listed or "nothing")
    context.add_output_metadata({name: dg.MetadataValue.int(rows) for name, rows in removed.items()})
