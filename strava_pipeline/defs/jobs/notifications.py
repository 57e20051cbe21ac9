"""Sends due mails: right after their activities, and later those that a mail server did not take."""

import logging
from typing import Final

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.dead_runs import is_one_to_come
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import MailerResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import schedule_of_due_work
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.log_context import log_ids
from strava_pipeline.names import Job
from strava_pipeline.warehouse.mail.mail_queue import any_due
from strava_pipeline.warehouse.states import MailState

SEND_MAILS: Final = "send_mails"


def send_mails_op(plan: Plan) -> dg.OpDefinition:
    """Make the op that sends mails, last in its run."""

    @dg.op(name=plan.names.op(SEND_MAILS), ins={"after": dg.In(dg.Nothing)}, out=NO_VALUE)
    def send_mails(context: dg.OpExecutionContext, strava_mailer: MailerResource) -> None:
        """Send due mails. A failed mail fails neither run nor event; ``ops.notifications`` says why."""
        try:
            for outcome in strava_mailer.send_due():
                level = logging.ERROR if outcome.state is MailState.FAILED else logging.INFO
                with log_ids(**outcome.claimed.log_ids):
                    step_log(context).log(level, "%s", outcome)
        except DatabaseUnavailable as error:
            step_log(context).warning("mails wait: %s", error)

    return send_mails


def send_notifications_job(plan: Plan, send_mails: dg.OpDefinition) -> dg.JobDefinition:
    """Make the job of mails alone."""

    @our_job(plan, Job.SEND_NOTIFICATIONS)
    def send_notifications() -> None:
        """Sends the mails that are due."""
        send_mails()

    return send_notifications


def notifications_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of mails: where a bridge looks, it is sooner."""
    return schedule_of_due_work(
        plan, Job.SEND_NOTIFICATIONS, "notifications_every_five_minutes", "3-59/5 * * * *", why_no_run
    )


def why_no_run(instance: dg.DagsterInstance, engine: Engine, plan: Plan) -> str | None:
    """The reason why no run is needed now; ``None`` if one is."""
    if not any_due(engine):
        return "no mail is due"
    return "the last run has not ended" if is_one_to_come(instance, plan.names, Job.SEND_NOTIFICATIONS) else None
