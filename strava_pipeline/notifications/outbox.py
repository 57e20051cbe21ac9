"""Sends the mails that are due, and says what became of each.

A mail is claimed first (:mod:`strava_pipeline.warehouse.notifications`), composed from what the tables hold by then,
and handed in; a mail server that is away costs the activity's event nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from typing import Any

from sqlalchemy import Engine, Row

from strava_pipeline.analysis.track import track_from_streams
from strava_pipeline.errors import ConfigurationError, MailDelayed, MailRefused
from strava_pipeline.keyring import Keyring
from strava_pipeline.notifications.ride_mail import Envelope, compose
from strava_pipeline.notifications.smtp import MailServer, parse_smtp_url, send
from strava_pipeline.notifications.summary import summarize
from strava_pipeline.notifications.unsubscribe import unsubscribe_url
from strava_pipeline.settings import Settings
from strava_pipeline.training import update_training_load
from strava_pipeline.warehouse import notifications as store
from strava_pipeline.warehouse.notifications import FAILED, SENT, SKIPPED, Claimed
from strava_pipeline.warehouse.ride_facts import RideFacts, local_day, ride_facts
from strava_pipeline.warehouse.streams import streams_of

log = logging.getLogger(__name__)
# A run sends so many at most; the next one goes on.
MOST_AT_ONCE = 50


@dataclass(frozen=True)
class Outbox:
    """Where mails are handed in, who writes them, and what their links need."""

    server: MailServer
    sender: Address
    bridge_url: str
    keyring: Keyring


@dataclass(frozen=True)
class Outcome:
    """What became of one mail in this try: sent, failed, skipped, or pending, with the reason."""

    activity_id: int
    state: str
    reason: str = ""

    def __str__(self) -> str:
        told = f"mail about activity {self.activity_id}: {self.state}"
        return f"{told}, {self.reason}" if self.reason else told


class _NotWanted(Exception):
    """No mail is to go out; the message says why."""


def open_outbox(settings: Settings) -> Outbox | None:
    """How mails are sent, as configured; ``None`` without a mail server. ``ConfigurationError`` if half is missing."""
    if settings.smtp_url is None:
        return None
    server = parse_smtp_url(settings.smtp_url.get_secret_value())
    sender = sender_of(settings.required("mail_from"))
    keyring = Keyring.parse(settings.required("token_keys"))
    # The link to end the mails leads there.
    return Outbox(server, sender, settings.required("bridge_public_url"), keyring)


def sender_of(text: str) -> Address:
    """The address in ``Name <name@host>``, or ``ConfigurationError``."""
    header: Any = default.header_factory("From", text) if text.isascii() and text.isprintable() else None
    if header is None or header.defects or len(header.addresses) != 1 or not header.addresses[0].domain:
        raise ConfigurationError("STRAVA_MAIL_FROM is not usable: write Name <name@example.org>, in ASCII")
    found: Address = header.addresses[0]
    return found


def send_due(engine: Engine, settings: Settings) -> Iterator[Outcome]:
    """Send what is due now, the longest due first. ``DatabaseAway`` leaves the rest for the next time."""
    for _ in range(MOST_AT_ONCE):
        claimed = store.claim_next(engine)
        if claimed is None:
            return
        yield _send_one(engine, settings, claimed)


def _send_one(engine: Engine, settings: Settings, claimed: Claimed) -> Outcome:
    state, reason = SENT, ""
    try:
        outbox = _outbox(settings)
        recipient, mail = _compose(engine, outbox, claimed)
        send(outbox.server, mail, sender=outbox.sender.addr_spec, recipient=recipient)
    except _NotWanted as decision:
        state, reason = SKIPPED, str(decision)
    except MailRefused as error:
        state, reason = FAILED, str(error)
    except (MailDelayed, ConfigurationError) as error:
        store.postpone(engine, claimed, str(error))
        return Outcome(claimed.activity_id, store.PENDING, str(error))
    store.settle(engine, claimed, state, reason or None)
    return Outcome(claimed.activity_id, state, reason)


def _outbox(settings: Settings) -> Outbox:
    outbox = open_outbox(settings)
    if outbox is None:
        raise _NotWanted("mail is off: STRAVA_SMTP_URL is not set")
    return outbox


def _compose(engine: Engine, outbox: Outbox, claimed: Claimed) -> tuple[str, EmailMessage]:
    """The recipient and the mail, from one look at the tables."""
    from strava_pipeline.notifications.gallery import gallery  # noqa: PLC0415  draws: slow to load, where mail is off

    facts, streams = _facts(engine, claimed)
    summary = summarize(facts)
    track = track_from_streams(streams) if streams is not None and streams["point_count"] else None
    pictures = gallery(facts, track, summary.units)
    with engine.connect() as connection:
        # Asked last: whoever unsubscribes while pictures are drawn gets no mail.
        recipient, why_not = store.address_of(connection, claimed.athlete_id)
    if recipient is None:
        raise _NotWanted(why_not)
    envelope = Envelope(
        sender=outbox.sender,
        recipient=recipient,
        # The same for each try, so that a mail that went out twice can be told to be one.
        message_id=f"ride-{claimed.activity_id}@{outbox.sender.domain}",
        date=claimed.claimed_at,
        unsubscribe_url=unsubscribe_url(outbox.bridge_url, outbox.keyring, claimed.athlete_id),
    )
    try:
        return recipient, compose(summary, pictures, envelope)
    except (MessageError, ValueError) as error:
        raise MailRefused(f"the mail cannot be written: {type(error).__name__}") from error


def _facts(engine: Engine, claimed: Claimed) -> tuple[RideFacts, dict[str, Any] | None]:
    """What the tables tell, the load of the week included. ``_NotWanted`` where no mail is to go out anyway."""
    with engine.connect() as connection:
        _, why_not = store.address_of(connection, claimed.athlete_id)
        facts = ride_facts(connection, claimed.activity_id)
    if why_not:
        raise _NotWanted(why_not)
    if facts is None:
        raise _NotWanted("the activity is gone")
    if _ended_at(facts.activity) < claimed.claimed_at - store.WORTH_SENDING:
        raise _NotWanted("the activity ended more than a day ago")
    update_training_load(engine, claimed.athlete_id, local_day(facts.activity))
    with engine.connect() as connection:
        facts = ride_facts(connection, claimed.activity_id)
        streams = streams_of(connection, claimed.activity_id)
    if facts is None:
        raise _NotWanted("the activity is gone")
    return facts, streams


def _ended_at(activity: Row[Any]) -> datetime:
    start: datetime = activity.start_date
    return start + timedelta(seconds=activity.elapsed_time or 0)
