"""Sends due mails: right after their activities, and every minute, in case a mail server was away."""

import dagster as dg

from strava_pipeline.defs.resources import MailerResource, WarehouseResource
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.names import NAMES
from strava_pipeline.warehouse.mail.mail_queue import any_due
from strava_pipeline.warehouse.states import MailState


@dg.op(ins={"after": dg.In(dg.Nothing)})
def send_mails(context: dg.OpExecutionContext, mailer: MailerResource) -> None:
    """Send due mails. A failed mail fails neither run nor event; ``ops.notifications`` says why."""
    try:
        for outcome in mailer.send_due():
            (context.log.error if outcome.state is MailState.FAILED else context.log.info)("%s", outcome)
    except DatabaseUnavailable as error:
        context.log.warning("mails wait: %s", error)


@dg.job(executor_def=dg.in_process_executor, tags={NAMES.job_tag: "send_notifications"})
def send_notifications() -> None:
    """Sends the mails that are due."""
    send_mails()


@dg.schedule(
    job=send_notifications,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def notifications_every_minute(warehouse: WarehouseResource) -> dg.RunRequest | dg.SkipReason:
    """Request a run only if a mail is due."""
    return dg.RunRequest() if any_due(warehouse.engine) else dg.SkipReason("no mail is due")
