"""Every night: removes data whose retention has ended."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import NAMES
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.inbox.events import delete_done
from strava_pipeline.warehouse.retention import (
    keep_from,
    remove_activities_before,
    remove_old_audits,
    remove_old_records,
)


@dg.op
def remove_old_activities(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Remove activities older than STRAVA_RETENTION_DAYS with all dependent rows, and their samples in the lake."""
    settings = load_settings()
    moment = keep_from(settings)
    if moment is None:
        context.log.info("STRAVA_RETENTION_DAYS is not set: all activities are kept")
        return
    from strava_pipeline.local.home_folder import lake_readers  # noqa: PLC0415  see below
    from strava_pipeline.warehouse.lake import remove_points_before  # noqa: PLC0415  Arrow, only needed here

    with translate_faults(attempts_of(context)):
        removed = remove_activities_before(warehouse.engine, moment)
        months = remove_points_before(warehouse.engine, settings.lake_location(), moment, lake_readers(settings))
    _report(
        context, removed | ({"months in the lake": months} if months else {}), f"before {moment:%Y-%m-%d %H:%M} UTC"
    )


@dg.op
def remove_records(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Remove old records of calls, rate windows, backfills, sign-ins, audits and finished events.

    Addresses that were not confirmed in time are erased, too.
    """
    settings = load_settings()
    with translate_faults(attempts_of(context)):
        removed = remove_old_records(warehouse.engine)
        if keep := settings.audit_retention_days:
            removed |= remove_old_audits(warehouse.engine, timedelta(days=keep))
        if keep := settings.inbox_retention_days:
            with warehouse.engine.begin() as connection:
                events = delete_done(connection, timedelta(days=keep))
            removed |= {"ops.webhook_events": events} if events else {}
    _report(context, removed, f"at {datetime.now(UTC):%Y-%m-%d}")


@dg.job(executor_def=dg.in_process_executor, tags={NAMES.job_tag: "retention"})
def retention() -> None:
    """Removes data whose retention has ended, and logs how much."""
    remove_old_activities()
    remove_records()


every_night = dg.ScheduleDefinition(
    name="retention_every_night",
    job=retention,
    cron_schedule="43 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def _report(context: dg.OpExecutionContext, removed: dict[str, int], when: str) -> None:
    listed = ", ".join(f"{rows} of {name}" for name, rows in sorted(removed.items()))
    context.log.info("removed %s: %s", when, listed or "nothing")
    context.add_output_metadata({name: dg.MetadataValue.int(rows) for name, rows in removed.items()})
