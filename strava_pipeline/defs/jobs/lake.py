"""The job that writes months of the lake whose samples have changed, every five minutes if there are any."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from time import monotonic
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy import Connection, Engine

from strava_pipeline.defs.assets.lake import file_metadata, write_lake_month
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.dead_runs import is_one_to_come
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import schedule_of_due_work
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.months import Span
from strava_pipeline.names import NO_RETRIES, STEP_ASSETS, Job, Names
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.months_at_work import FailedMonth, each_month, raise_failed
from strava_pipeline.warehouse.activities.lake_months import outdated_months
from strava_pipeline.warehouse.archives.imports import has_archive_by_command
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.states import ImportStep

if TYPE_CHECKING:
    from strava_pipeline.warehouse.lake import MonthFile

# A run begins no further month after this time. What is left is for the next one.
WORKS_FOR_SECONDS = 600.0
# So is what is left after this time if a webhook's run waits for a slot: few runs may be at work at once.
WORKS_AT_LEAST_SECONDS = 30.0
# Dagster's daemon takes a run from the queue within this time if there is a slot for it.
IN_QUEUE = timedelta(seconds=5)


def lake_job(plan: Plan) -> dg.JobDefinition:
    """Make the job of the lake."""

    @dg.op(name=plan.names.op("write_outdated_months"), out=NO_VALUE)
    def write_outdated_months(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
        """Write the months whose samples were stored or deleted since, the last change first."""
        _write(context, strava_warehouse)

    @our_job(plan, Job.UPDATE_LAKE, plan.names.lane_tags(Lane.RECONCILE), NO_RETRIES)
    def update_lake() -> None:
        """Writes files of the lake whose months have changed, first ones, too; without samples there is no file."""
        write_outdated_months()

    return update_lake


def _write(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    settings, names = warehouse.load_settings(), warehouse.names
    asset = dg.AssetKey(names.asset_path(STEP_ASSETS[ImportStep.LAKE]))
    begun_at = monotonic()

    def goes_on(_: Span) -> bool:
        worked = monotonic() - begun_at
        return worked < WORKS_FOR_SECONDS and (
            worked < WORKS_AT_LEAST_SECONDS or not _is_webhook_waiting(context.instance, names)
        )

    def write(span: Span) -> "tuple[Span, MonthFile]":
        return span, write_lake_month(warehouse.engine, settings, span)

    failed: list[FailedMonth] = []
    months = 0
    with translate_faults(attempts_of(context)):
        with autocommit(warehouse.engine) as connection:
            outdated = outdated_months(connection, is_set=_is_set(connection, settings, is_own=warehouse.is_own))
        in_time = takewhile(goes_on, outdated)
        for result in each_month(warehouse.engine, ImportStep.LAKE, in_time, write):
            months += 1
            if isinstance(result, FailedMonth):
                failed.append(result)
                continue
            span, file = result
            if file.written:
                key = cell(span.athlete_id, span.start)
                context.log_event(dg.AssetMaterialization(asset, partition=key, metadata=file_metadata(file)))
        raise_failed(failed, months)
        note_success(warehouse.engine, PeriodicJob.LAKE)
    step_log(context).info("%d of %d outdated months are equal to the tables again", months, len(outdated))


def _is_set(connection: Connection, settings: Settings, *, is_own: bool) -> bool:
    """Whether a lake was asked for: by its address, or in our own deployment by an archive that a command imported.

    Whoever imports one on the machine has it for themselves, and without an app nothing is set there.
    """
    if settings.lake_url is not None:
        return True
    return is_own and settings.keeps_data_in_home and has_archive_by_command(connection)


def _is_webhook_waiting(instance: dg.DagsterInstance, names: Names) -> bool:
    """Whether a run of a webhook waits in Dagster's queue because no slot is free."""
    waiting = dg.RunsFilter(
        job_name=names.job(Job.WEBHOOK_SYNC),
        statuses=[dg.DagsterRunStatus.QUEUED],
        tags={names.lane_tag: Lane.LIVE.value},
        created_before=datetime.now(UTC) - IN_QUEUE,
    )
    return instance.get_runs_count(waiting) > 0


def lake_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of the lake."""
    # Between the runs of upkeep.
    return schedule_of_due_work(plan, Job.UPDATE_LAKE, "lake_every_five_minutes", "4-59/5 * * * *", why_no_run)


def why_no_run(instance: dg.DagsterInstance, engine: Engine, plan: Plan) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    settings = plan.load_settings()
    with autocommit(engine) as connection:
        is_set = _is_set(connection, settings, is_own=plan.is_own)
        if not outdated_months(connection, is_set=is_set, limit=1):
            return "every file equals the tables, its turn comes later, or nobody has asked for a lake"
    return "the last run has not ended" if is_one_to_come(instance, plan.names, Job.UPDATE_LAKE) else None
