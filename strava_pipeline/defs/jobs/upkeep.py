"""The job that keeps what is stored true, every five minutes if something is due."""

import time
from datetime import timedelta

import dagster as dg
from sqlalchemy import Connection, Engine

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.dead_runs import is_one_to_come
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import StravaResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import schedule_of_due_work
from strava_pipeline.defs.shown_archives import has_months_to_show, show_archives
from strava_pipeline.defs.steps import NO_REQUESTS, translate_faults
from strava_pipeline.kept_assets import kept_of
from strava_pipeline.names import NO_RETRIES, Asset, Job
from strava_pipeline.settings import QuotaScope, Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import APP, Lane
from strava_pipeline.sync.erasing import finish_erasures
from strava_pipeline.sync.upkeep import Contexts, Worked, wants_details, work_off
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.erasures import athletes_being_erased
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.quota.status import scope_status
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.load import upkeep_load

# A run takes up no further task after this time, and reads no further page. The next one goes on.
WORKS_FOR_SECONDS = 600.0


def upkeep_job(plan: Plan) -> dg.JobDefinition:
    """Make the job of upkeep."""

    @dg.op(name=plan.names.op("work_off_upkeep"), out=NO_VALUE, pool=plan.pools().upkeep)
    def work_off_upkeep(context: dg.OpExecutionContext, strava_client: StravaResource) -> None:
        """Compare with Strava what is due, the most overdue first, within upkeep's share of the quota.

        Before that, delete what is left of athletes who are being erased, where no bridge does.
        """
        _work(context, strava_client)

    @our_job(plan, Job.UPKEEP, plan.names.lane_tags(Lane.RECONCILE), NO_RETRIES)
    def upkeep() -> None:
        """Finds what changed without a webhook; keeps profiles, zones, totals, gear and training load up to date."""
        work_off_upkeep()

    return upkeep


def _work(context: dg.OpExecutionContext, strava: StravaResource) -> None:
    settings = strava.warehouse.load_settings()
    load = dg.AssetKey(strava.warehouse.names.asset_path(Asset.TRAINING_LOAD))
    ends_at = time.monotonic() + WORKS_FOR_SECONDS

    def go_on() -> bool:
        return time.monotonic() < ends_at

    with translate_faults(attempts_of(context)):
        # First, since it needs nothing of Strava.
        if months := show_archives(context, strava.warehouse):
            step_log(context).info("%d months are shown that were imported outside of Dagster", months)
        contexts = Contexts(
            quick=strava.sync(Lane.RECONCILE),
            spare=strava.sync(Lane.BACKFILL, max_wait=timedelta(0)),
        )
        finish_erasures(settings, contexts.quick.engine, go_on)
        worked = work_off(contexts, settings, go_on)
        note_success(contexts.quick.engine, PeriodicJob.UPKEEP)
    for athlete_id, days in worked.loads.items():
        metadata = NO_REQUESTS | {"written": days}
        context.log_event(dg.AssetMaterialization(load, partition=str(athlete_id), metadata=metadata))
    step_log(context).info("%s", _told(worked))
    if worked.stopped is not None:
        step_log(context).info("the rest is due later: %s", worked.stopped)


def upkeep_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of upkeep."""
    # Not at a full hour, when everybody's jobs start.
    return schedule_of_due_work(plan, Job.UPKEEP, "upkeep_every_five_minutes", "2-59/5 * * * *", why_no_run)


def why_no_run(instance: dg.DagsterInstance, engine: Engine, plan: Plan) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    settings, kept = plan.load_settings(), kept_of(plan.kept)
    with engine.begin() as connection:
        due.add_missing(connection, kept)
        if (
            athletes_being_erased(connection)
            or has_months_to_show(instance, connection, plan.names)
            or wants_details(connection, settings, kept)
        ):
            pass
        elif not due.is_due(connection):
            return "nothing is due"
        elif settings.quota_scope is QuotaScope.APP and not _has_room(connection, settings):
            return f"no quota is left for upkeep now: {upkeep_load(connection, settings, now(connection))}"
    return "the last run has not ended" if is_one_to_come(instance, plan.names, Job.UPKEEP) else None


def _has_room(connection: Connection, settings: Settings) -> bool:
    windows = scope_status(connection, RateLimits.from_settings(settings), APP, now(connection))
    return all(window.calls_left[Lane.RECONCILE] for window in windows)


def _told(worked: Worked) -> str:
    done = ", ".join(f"{count} x {kind}" for kind, count in sorted(worked.done.items())) or "nothing"
    changes = ", ".join(f"{count} x {what}" for what, count in sorted((+worked.changes).items()))
    return f"done: {done}; differences: {changes or 'none'}; failed: {len(worked.failed)}"
