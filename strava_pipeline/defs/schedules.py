"""Schedules that look every few minutes, and request a run only if something is due."""

from collections.abc import Callable

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.dead_runs import end_dead_runs
from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.pools import set_up_pools
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.own_process import CODE_SERVER
from strava_pipeline.warehouse.migrate import open_warehouse

WhyNot = Callable[[dg.DagsterInstance, Engine, Plan], str | None]


def schedule_of_due_work(plan: Plan, job: str, name: str, cron: str, why_not: WhyNot) -> dg.ScheduleDefinition:
    """Make a schedule for a job (both by plain name) whose run is requested unless ``why_not`` gives a reason.

    Before each look, dead runs are ended. Settings that cannot be used, such as a missing address of the database, are
    the reason why a tick is skipped: nothing is started, and no tick fails.
    """

    @dg.schedule(
        job_name=plan.names.job(job),
        name=plan.names.schedule(name),
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=plan.schedule_status,
    )
    def look(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Request a run if something is due, and none is at work or in the queue."""
        try:
            with open_warehouse(plan.settings_with_database(), CODE_SERVER) as engine:
                prepare(context.instance, plan)
                reason = why_not(context.instance, engine, plan)
        except ConfigurationError as error:
            reason = str(error)
        return dg.RunRequest() if reason is None else dg.SkipReason(reason)

    return look


def prepare(instance: dg.DagsterInstance, plan: Plan) -> None:
    """Set up pools, where neither ``up`` nor a command does it, and end dead runs."""
    set_up_pools(instance, plan.names, plan.pools())
    end_dead_runs(instance, plan.names, is_own=plan.is_own)
