"""Sends alerts as one mail to the addresses in ``STRAVA_ALERT_TO``; needs no bridge, no key and no database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Self

from strava_pipeline.errors import ConfigurationError, MailDelayed, MailRefused
from strava_pipeline.notifications.addresses import checked_address
from strava_pipeline.notifications.alert_digest import Message, part_of, subject_of, worst_first
from strava_pipeline.notifications.envelope import Envelope, new_mail
from strava_pipeline.notifications.rendering import add_bodies
from strava_pipeline.notifications.sender import sender_of
from strava_pipeline.notifications.smtp import MailServer, parse_smtp_url, send_to_all
from strava_pipeline.notifications.told import Told
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import SendState
from strava_pipeline.watch.wording import page_url


@dataclass(frozen=True)
class AlertMail:
    """The mail server, the sender, the recipients, and the address of the operator's page."""

    server: MailServer
    sender: Address
    recipients: tuple[str, ...]
    page: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the way by mail; ``None`` if no address is set, ``ConfigurationError`` if one setting is wrong."""
        if settings.alert_to is None:
            return None
        try:
            settings.require("smtp_url", "mail_from")
        except ConfigurationError as error:
            raise ConfigurationError(f"STRAVA_ALERT_TO needs a mail server and a sender: {error}") from None
        return cls(
            parse_smtp_url(settings.required("smtp_url"), settings.ca_bundle),
            sender_of(settings.required("mail_from")),
            _addresses(settings.alert_to),
            page_url(settings),
        )

    def send(self, messages: Sequence[Message], name: str) -> Told:
        """Send messages in one mail; ``name`` makes its id, by which a mailbox knows a mail that comes twice.

        It is sent once the server took it for one of the addresses.
        """
        try:
            mail = self.composed(messages, name, datetime.now(UTC))
            refused = send_to_all(self.server, mail, sender=self.sender.addr_spec, recipients=self.recipients)
        except MailDelayed as error:
            return Told(SendState.PENDING, str(error))
        except MailRefused as error:
            return Told(SendState.FAILED, str(error))
        except (MessageError, ValueError) as error:
            return Told(SendState.FAILED, f"the mail cannot be written: {error}")
        return Told(SendState.SENT, "; ".join(f"refused for one address: {reason}" for reason in refused))

    def composed(self, messages: Sequence[Message], name: str, moment: datetime) -> EmailMessage:
        """Return the mail about messages, worst first, as of a moment (UTC)."""
        subject, ordered = subject_of(messages), worst_first(messages)
        message_id = f"alerts-{hashlib.sha256(name.encode()).hexdigest()[:32]}@{self.sender.domain}"
        mail = new_mail(Envelope(self.sender, ", ".join(self.recipients), message_id, moment), subject)
        told = {"subject": subject, "messages": ordered, "parts": [part_of(each) for each in ordered]}
        add_bodies(mail, "alerts", told | {"page": self.page})
        return mail


def _addresses(text: str) -> tuple[str, ...]:
    given = [part.strip() for part in text.split(",") if part.strip()]
    found = []
    for number, part in enumerate(given, start=1):
        try:
            found.append(checked_address(part))
        except ValueError:
            raise ConfigurationError(
                f"STRAVA_ALERT_TO: entry {number} is no e-mail address: write one address, or several with a comma"
                " between"
            ) from None
    if not found:
        raise ConfigurationError("STRAVA_ALERT_TO holds no address: write one, or several with a comma between")
    return tuple(dict.fromkeys(found))
