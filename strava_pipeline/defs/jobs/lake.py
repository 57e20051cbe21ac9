"""The job that writes months of the lake anew whose samples have changed, every five minutes if there are any."""

import time
from itertools import takewhile
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.assets.lake import file_metadata, write_lake_month
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.dead_runs import end_dead_runs, is_one_to_come
from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.months import Span
from strava_pipeline.names import NAMES, NO_RETRIES, STEP_ASSETS
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.months_at_work import FailedMonth, each_month, raise_failed
from strava_pipeline.warehouse.activities.lake_months import outdated_months
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.states import ImportStep

if TYPE_CHECKING:
    from strava_pipeline.warehouse.lake import MonthFile

# A run begins no further month after this time. What is left is for the next one.
WORKS_FOR_SECONDS = 600.0


@dg.op
def write_outdated_months(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Make files in the lake equal to the tables where samples were stored or deleted since."""
    settings = load_settings()
    ends_at = time.monotonic() + WORKS_FOR_SECONDS

    def write(span: Span) -> "tuple[Span, MonthFile]":
        return span, write_lake_month(warehouse.engine, settings, span)

    failed: list[FailedMonth] = []
    months = 0
    with translate_faults(attempts_of(context)):
        with autocommit(warehouse.engine) as connection:
            outdated = outdated_months(connection)
        in_time = takewhile(lambda _: time.monotonic() < ends_at, outdated)
        for result in each_month(warehouse.engine, ImportStep.LAKE, in_time, write):
            months += 1
            if isinstance(result, FailedMonth):
                failed.append(result)
                continue
            span, file = result
            if file.written:
                key = cell(span.athlete_id, span.start)
                event = dg.AssetMaterialization(
                    STEP_ASSETS[ImportStep.LAKE], partition=key, metadata=file_metadata(file)
                )
                context.log_event(event)
        raise_failed(failed, months)
    context.log.info("%d of %d outdated months are equal to the tables again", months, len(outdated))


@dg.job(executor_def=dg.in_process_executor, tags=NAMES.lane_tags(Lane.RECONCILE) | NO_RETRIES)
def update_lake() -> None:
    """Writes files of the lake anew whose months have changed; without samples there is no file."""
    write_outdated_months()


@dg.schedule(
    job=update_lake,
    # Between the runs of upkeep.
    cron_schedule="4-59/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def lake_every_five_minutes(
    context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """Request a run if files are outdated, and none is at work or in the queue."""
    why_not = why_no_run(context.instance, warehouse.engine)
    return dg.RunRequest() if why_not is None else dg.SkipReason(why_not)


def why_no_run(instance: dg.DagsterInstance, engine: Engine) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    with autocommit(engine) as connection:
        if not outdated_months(connection, limit=1):
            return "every file equals the tables, or its turn comes later"
    end_dead_runs(instance)
    return "the last run has not ended" if is_one_to_come(instance, update_lake) else None
