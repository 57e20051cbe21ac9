"""The job that reports the results of asset checks, every five minutes if some are due."""

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.check_reports import due_reports, log_results
from strava_pipeline.defs.dead_runs import is_one_to_come
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import schedule_of_due_work
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import NO_RETRIES, Job
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.activities.month_checks import check_changed_months, check_few_months
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success


def checks_job(plan: Plan) -> dg.JobDefinition:
    """Make the job of checks."""

    @dg.op(name=plan.names.op("report_due_checks"), out=NO_VALUE)
    def report_due_checks(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
        """Report each check whose result has changed, or that Dagster shows as not evaluated; the others once a day."""
        _report(context, strava_warehouse)

    @our_job(plan, Job.RUN_CHECKS, plan.names.lane_tags(Lane.RECONCILE), NO_RETRIES)
    def run_checks() -> None:
        """Tells how the asset checks stand, also where nobody materializes their assets."""
        report_due_checks()

    return run_checks


def _report(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    with translate_faults(attempts_of(context)):
        months = check_changed_months(warehouse.engine)
        with autocommit(warehouse.engine) as connection:
            due = due_reports(context.instance, warehouse.names, frozenset(warehouse.assets), connection)
    log_results(context, due)
    with translate_faults(attempts_of(context)):
        note_success(warehouse.engine, PeriodicJob.CHECKS)
    step_log(context).info("%d months checked, %d results reported", months, len(due))


def checks_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of checks."""
    # Beside the mails, which are seldom due.
    return schedule_of_due_work(plan, Job.RUN_CHECKS, "checks_every_five_minutes", "3-59/5 * * * *", why_no_run)


def why_no_run(instance: dg.DagsterInstance, engine: Engine, plan: Plan) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    if is_one_to_come(instance, plan.names, Job.RUN_CHECKS):
        return "the last run has not ended"
    if not check_few_months(engine):
        return None
    with autocommit(engine) as connection:
        return None if due_reports(instance, plan.names, plan.kept, connection) else "no check has changed"
