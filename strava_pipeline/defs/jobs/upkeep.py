"""The job that keeps what is stored true, every five minutes if something is due."""

import time
from datetime import timedelta

import dagster as dg
from sqlalchemy import Connection, Engine

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.dead_runs import end_dead_runs, is_one_to_come
from strava_pipeline.defs.pools import set_up_pools
from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import NAMES, NO_RETRIES
from strava_pipeline.settings import QuotaScope, Settings, load_settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import APP, Lane
from strava_pipeline.sync.upkeep import Contexts, Worked, wants_details, work_off
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.status import scope_status
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.load import upkeep_load

# A run takes up no further task after this time, and reads no further page. The next one goes on.
WORKS_FOR_SECONDS = 600.0


@dg.op(pool=NAMES.upkeep_pool)
def work_off_upkeep(context: dg.OpExecutionContext, strava: StravaResource) -> None:
    """Compare with Strava what is due, the most overdue first, within upkeep's share of the quota."""
    settings = load_settings()
    ends_at = time.monotonic() + WORKS_FOR_SECONDS
    with translate_faults(attempts_of(context)):
        worked = work_off(
            Contexts(
                quick=strava.sync(Lane.RECONCILE),
                spare=strava.sync(Lane.BACKFILL, max_wait=timedelta(0)),
            ),
            settings,
            lambda: time.monotonic() < ends_at,
        )
    context.log.info("%s", _told(worked))
    if worked.stopped is not None:
        context.log.info("the rest is due later: %s", worked.stopped)


@dg.job(executor_def=dg.in_process_executor, tags=NAMES.lane_tags(Lane.RECONCILE) | NO_RETRIES)
def upkeep() -> None:
    """Finds what changed at Strava without a webhook, and keeps profiles, zones, totals and gear up to date."""
    work_off_upkeep()


@dg.schedule(
    job=upkeep,
    # Not at a full hour, when everybody's jobs start.
    cron_schedule="2-59/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def upkeep_every_five_minutes(
    context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """Request a run if something is due, and none is at work or in the queue."""
    set_up_pools(context.instance)
    why_not = why_no_run(context.instance, warehouse.engine)
    return dg.RunRequest() if why_not is None else dg.SkipReason(why_not)


def why_no_run(instance: dg.DagsterInstance, engine: Engine) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    settings = load_settings()
    end_dead_runs(instance)
    with engine.begin() as connection:
        due.add_missing(connection)
        if wants_details(connection, settings):
            pass
        elif not due.is_due(connection):
            return "nothing is due"
        elif settings.quota_scope is QuotaScope.APP and not _has_room(connection, settings):
            return f"no quota is left for upkeep now: {upkeep_load(connection, settings, now(connection))}"
    return "the last run has not ended" if is_one_to_come(instance, upkeep) else None


def _has_room(connection: Connection, settings: Settings) -> bool:
    windows = scope_status(connection, RateLimits.from_settings(settings), APP, now(connection))
    return all(window.calls_left[Lane.RECONCILE] for window in windows)


def _told(worked: Worked) -> str:
    done = ", ".join(f"{count} x {kind}" for kind, count in sorted(worked.done.items())) or "nothing"
    changes = ", ".join(f"{count} x {what}" for what, count in sorted((+worked.changes).items()))
    return f"done: {done}; differences: {changes or 'none'}; failed: {len(worked.failed)}"
