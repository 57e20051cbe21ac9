"""The mail that asks an athlete to connect again: queued with the end of the grant, once for each end."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from strava_pipeline.warehouse.mail.consent import address_of
from strava_pipeline.warehouse.mail.mail_queue import queue_for_athlete, skip_pending
from strava_pipeline.warehouse.states import MailKind

# The link in the mail is good for so long, unless the athlete connects before.
RECONNECT_WITHIN = timedelta(days=30)
# A mail server that is away for longer makes the mail fail.
WORTH_SENDING = timedelta(days=7)


def ask_to_reconnect(connection: Connection, athlete_id: int) -> None:
    """Queue the mail, if the athlete has confirmed an address and wants mails.

    Call it in the transaction that notes the end of the grant: the mail is then queued once for each.
    """
    consent, _ = address_of(connection, athlete_id)
    if consent is not None:
        queue_for_athlete(connection, athlete_id, MailKind.RECONNECT)


def ask_no_more(connection: Connection, athlete_id: int) -> None:
    """Skip the mail if it is pending: the athlete has connected again."""
    skip_pending(connection, athlete_id, MailKind.RECONNECT, "the athlete is connected again")
