"""Sends the mails that are due, and reports the result of each.

A mail is claimed first (:mod:`strava_pipeline.warehouse.mail.mail_queue`), then composed from what the tables hold at
that time, and handed to the mail server. :mod:`.smtp` decides whether a reply refuses the mail for good (550) or may
pass. A mail server that is away does not disturb the activity's event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage

from sqlalchemy import Engine

from strava_pipeline.analysis.track import track_from_streams
from strava_pipeline.errors import ConfigurationError, MailDelayed, MailRefused
from strava_pipeline.keyring import Keyring
from strava_pipeline.log_context import log_ids
from strava_pipeline.notifications.addresses import checked_address
from strava_pipeline.notifications.confirmation_mail import compose_confirmation
from strava_pipeline.notifications.envelope import Envelope
from strava_pipeline.notifications.gallery import gallery
from strava_pipeline.notifications.history_mail import compose_history
from strava_pipeline.notifications.mail_links import (
    ReconnectLink,
    confirm_url,
    mailbox_hash,
    reconnect_url,
    unsubscribe_url,
)
from strava_pipeline.notifications.reconnect_mail import compose_reconnect
from strava_pipeline.notifications.ride_mail import compose
from strava_pipeline.notifications.sender import sender_of
from strava_pipeline.notifications.smtp import MailServer, parse_smtp_url, send
from strava_pipeline.notifications.summary import summarize
from strava_pipeline.settings import Settings
from strava_pipeline.sync.training_load import update_training_load
from strava_pipeline.warehouse.activities.stream_store import StoredStreams, load_streams
from strava_pipeline.warehouse.analysis.ride_facts import RideFacts, ride_facts
from strava_pipeline.warehouse.analysis.ride_parts import Ride
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.mail import history, mail_queue, reconnect
from strava_pipeline.warehouse.mail.confirmation_limits import Ask, refusal_reason
from strava_pipeline.warehouse.mail.consent import CONFIRM_WITHIN, Consent, address_of, consent_of
from strava_pipeline.warehouse.mail.mail_queue import ClaimedMail
from strava_pipeline.warehouse.states import GrantState, MailKind, MailState
from strava_pipeline.warehouse.tokens.grants import grant_of

# One call sends so many mails at most; the next call sends the rest.
MOST_AT_ONCE = 50
# Characters. A header with this URL and a token must fit into one line of at most 998 octets.
LONGEST_BRIDGE_URL = 700
# For how long it is tried to send a mail; a ride summary as long as STRAVA_MAIL_MAX_AGE_HOURS says.
WORTH_SENDING = {
    MailKind.CONFIRMATION: CONFIRM_WITHIN,
    MailKind.RECONNECT: reconnect.WORTH_SENDING,
    MailKind.HISTORY: history.WORTH_SENDING,
}
MAIL_IS_OFF = "mail is off: STRAVA_SMTP_URL is not set"


@dataclass(frozen=True)
class Outbox:
    """The mail server, the sender, and what the links in mails need."""

    server: MailServer
    sender: Address
    bridge_url: str
    keyring: Keyring


@dataclass(frozen=True)
class MailResult:
    """The result of one attempt to send a mail: sent, failed, skipped, or pending, with the reason."""

    claimed: ClaimedMail
    state: MailState
    reason: str = ""

    def __str__(self) -> str:
        number = self.claimed.import_id
        about = {
            MailKind.RIDE_SUMMARY: f"about activity {self.claimed.activity_id}",
            MailKind.CONFIRMATION: f"that asks athlete {self.claimed.athlete_id} for consent",
            MailKind.RECONNECT: f"that asks athlete {self.claimed.athlete_id} to connect again",
            MailKind.HISTORY: f"that tells athlete {self.claimed.athlete_id} of archive import {number}",
        }
        told = f"mail {about[self.claimed.kind]}: {self.state}"
        return f"{told}, {self.reason}" if self.reason else told


class _NotWanted(Exception):
    """No mail is to be sent; the message is the reason."""


def open_outbox(settings: Settings) -> Outbox | None:
    """Return the configured outbox; ``None`` without a mail server, ``ConfigurationError`` if the rest is wrong."""
    if settings.smtp_url is None:
        return None
    server = parse_smtp_url(settings.smtp_url.get_secret_value(), settings.ca_bundle)
    sender = sender_of(settings.required("mail_from"))
    keyring = Keyring.parse(settings.required("token_keys"))
    # The links that confirm an address or end the mails lead to the bridge.
    bridge_url = settings.required("bridge_public_url")
    if not re.fullmatch(f"[!-;=?-~]{{1,{LONGEST_BRIDGE_URL}}}", bridge_url):
        raise ConfigurationError(
            "STRAVA_BRIDGE_PUBLIC_URL does not fit into a mail's header: use ASCII (punycode), at most"
            f" {LONGEST_BRIDGE_URL} characters"
        )
    return Outbox(server, sender, bridge_url, keyring)


def send_due(engine: Engine, settings: Settings, kept: Kept = EVERYTHING) -> Iterator[MailResult]:
    """Send the mails that are due, the longest due first, and yield each result; they tell what is ``kept``.

    ``DatabaseUnavailable`` ends the sending; the rest stays due.
    """
    for _ in range(MOST_AT_ONCE):
        claimed = mail_queue.claim_next(engine)
        if claimed is None:
            return
        with log_ids(**claimed.log_ids):
            result = _send_one(engine, settings, claimed, kept)
        yield result


def _send_one(engine: Engine, settings: Settings, claimed: ClaimedMail, kept: Kept) -> MailResult:
    state, reason = MailState.SENT, ""
    try:
        outbox, mail = _written(engine, settings, claimed, kept)
        send(outbox.server, mail, sender=outbox.sender.addr_spec, recipient=mail["To"])
    except _NotWanted as decision:
        state, reason = MailState.SKIPPED, str(decision)
    except MailRefused as error:
        state, reason = MailState.FAILED, str(error)
    except (MailDelayed, ConfigurationError) as error:
        give_up_after = WORTH_SENDING.get(claimed.kind, settings.mail_max_age)
        mail_queue.postpone(engine, claimed, str(error), give_up_after=give_up_after)
        return MailResult(claimed, MailState.PENDING, str(error))
    mail_queue.record_result(engine, claimed, state, reason or None)
    return MailResult(claimed, state, reason)


def _written(engine: Engine, settings: Settings, claimed: ClaimedMail, kept: Kept) -> tuple[Outbox, EmailMessage]:
    """The outbox, and the mail, composed from what the tables hold now."""
    outbox = open_outbox(settings)
    if outbox is None:
        # An address can be confirmed for a week, and a mail server may be configured meanwhile.
        raise MailDelayed(MAIL_IS_OFF) if claimed.kind is MailKind.CONFIRMATION else _NotWanted(MAIL_IS_OFF)
    if claimed.kind is MailKind.RECONNECT:
        return outbox, _reconnect(engine, outbox, claimed)
    if claimed.import_id is not None:
        return outbox, _history(engine, outbox, claimed, claimed.import_id)
    if claimed.activity_id is None:
        return outbox, _confirmation(engine, outbox, claimed)
    return outbox, _summary(engine, outbox, claimed, claimed.activity_id, settings.mail_max_age, kept)


def _confirmation(engine: Engine, outbox: Outbox, claimed: ClaimedMail) -> EmailMessage:
    """The mail that asks for consent; from here on it counts towards the limits of such mails."""
    with engine.connect() as connection:
        consent = consent_of(connection, claimed.athlete_id)
    if consent is None:
        raise _NotWanted("the address was erased")
    if consent.confirmed_at is not None:
        raise _NotWanted("the address is confirmed")
    with _writing():
        envelope = _envelope(outbox, claimed, consent, f"confirm-{claimed.id}")
        link = confirm_url(outbox.bridge_url, outbox.keyring, consent)
        mail = compose_confirmation(claimed.athlete_id, link, envelope)
    hashed = mailbox_hash(outbox.keyring, envelope.recipient)
    if reason := refusal_reason(engine, Ask(claimed.id, claimed.athlete_id, hashed)):
        raise MailDelayed(reason)
    return mail


def _reconnect(engine: Engine, outbox: Outbox, claimed: ClaimedMail) -> EmailMessage:
    """The mail that asks to connect again, if the grant has still ended and mails are still wanted."""
    with engine.connect() as connection:
        grant = grant_of(connection, claimed.athlete_id)
        consent, why_not = address_of(connection, claimed.athlete_id)
    if consent is None:
        raise _NotWanted(why_not)
    if grant is None or grant.state is not GrantState.NEEDS_REAUTH:
        raise _NotWanted("the athlete need not connect again")
    good_until = claimed.created_at + reconnect.RECONNECT_WITHIN
    link = ReconnectLink(claimed.athlete_id, grant.generation, int(good_until.timestamp()))
    with _writing():
        envelope = _envelope(outbox, claimed, consent, f"reconnect-{claimed.id}")
        return compose_reconnect(reconnect_url(outbox.bridge_url, outbox.keyring, link), envelope)


def _history(engine: Engine, outbox: Outbox, claimed: ClaimedMail, import_id: int) -> EmailMessage:
    """The mail that an archive was imported, unless that was undone since, or no mails are wanted any more."""
    with engine.connect() as connection:
        told = history.imported_history(connection, import_id)
        consent, why_not = address_of(connection, claimed.athlete_id)
    if consent is None:
        raise _NotWanted(why_not)
    if told is None:
        raise _NotWanted("the archive import was undone")
    with _writing():
        return compose_history(told, outbox.bridge_url, _envelope(outbox, claimed, consent, f"history-{import_id}"))


def _summary(
    engine: Engine, outbox: Outbox, claimed: ClaimedMail, activity_id: int, max_age: timedelta, kept: Kept
) -> EmailMessage:
    """The mail about an activity, if that ended at most ``max_age`` ago."""
    facts, streams = _facts(engine, claimed, activity_id, max_age, kept)
    summary = summarize(facts)
    track = track_from_streams(streams) if streams is not None and streams.point_count else None
    pictures = gallery(facts, track, summary.units)
    with engine.connect() as connection:
        # Read last, so that an athlete who unsubscribes while pictures are drawn gets no mail.
        consent, why_not = address_of(connection, claimed.athlete_id)
    if consent is None:
        raise _NotWanted(why_not)
    with _writing():
        return compose(summary, pictures, _envelope(outbox, claimed, consent, f"ride-{activity_id}"))


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (MessageError, ValueError) as error:
        raise MailRefused(f"the mail cannot be written: {error}") from error


def _envelope(outbox: Outbox, claimed: ClaimedMail, consent: Consent, name: str) -> Envelope:
    return Envelope(
        sender=outbox.sender,
        # Checked again: an older version, or a person, may have stored the address by other rules.
        recipient=checked_address(consent.email),
        # Equal for all attempts, so that a mail that was sent twice is recognized as one.
        message_id=f"{name}@{outbox.sender.domain}",
        date=claimed.claimed_at,
        unsubscribe_url=unsubscribe_url(outbox.bridge_url, outbox.keyring, consent),
    )


def _facts(
    engine: Engine, claimed: ClaimedMail, activity_id: int, max_age: timedelta, kept: Kept
) -> tuple[RideFacts, StoredStreams | None]:
    """Facts and streams of an activity, after an update of its training load; ``_NotWanted`` if no mail is wanted."""
    with engine.connect() as connection:
        _, why_not = address_of(connection, claimed.athlete_id)
        facts = ride_facts(connection, activity_id)
    if why_not:
        raise _NotWanted(why_not)
    if facts is None:
        raise _NotWanted("the activity is gone")
    if _ended_at(facts.activity) < claimed.claimed_at - max_age:
        raise _NotWanted(f"the activity ended more than {max_age // timedelta(hours=1)} h ago")
    if kept.loads:
        update_training_load(engine, claimed.athlete_id, facts.activity.local_day)
    with engine.connect() as connection:
        facts = ride_facts(connection, activity_id)
        streams = load_streams(connection, activity_id)
    if facts is None:
        raise _NotWanted("the activity is gone")
    # What is stored from before a load was left out is not of this day.
    return facts if kept.loads else replace(facts, days=()), streams


def _ended_at(activity: Ride) -> datetime:
    return activity.start_date + timedelta(seconds=activity.elapsed_time or 0)
