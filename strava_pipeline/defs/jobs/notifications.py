"""Mails that are due: right after the activities they are about, and by a schedule when a mail server was away."""

import dagster as dg

from strava_pipeline.defs.resources import MailerResource, WarehouseResource
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.mail.mail_queue import any_due
from strava_pipeline.warehouse.states import MailState


@dg.op(ins={"after": dg.In(dg.Nothing)})
def send_mails(context: dg.OpExecutionContext, mailer: MailerResource) -> None:
    """Send what is due. A mail that fails fails neither the run nor the event; ``ops.notifications`` tells of it."""
    try:
        for outcome in mailer.send_due():
            (context.log.error if outcome.state is MailState.FAILED else context.log.info)("%s", outcome)
    except DatabaseUnavailable as error:
        context.log.warning("mails wait: %s", error)


@dg.job(executor_def=dg.in_process_executor)
def send_notifications() -> None:
    """Sends the mails that are due."""
    send_mails()


@dg.schedule(
    job=send_notifications,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def notifications_every_minute(warehouse: WarehouseResource) -> dg.RunRequest | dg.SkipReason:
    """A run only when a mail is due."""
    return dg.RunRequest() if any_due(warehouse.engine) else dg.SkipReason("no mail is due")
