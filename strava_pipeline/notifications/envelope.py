"""Sender and recipient of a mail, and the headers that all our mails have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from strava_pipeline.notifications.headers import POLICY
from strava_pipeline.notifications.sender import sender_header


@dataclass(frozen=True)
class Envelope:
    """Sender, recipient, id and date of a mail; ``unsubscribe_url`` is the page that ends the mails, if one does."""

    sender: Address
    recipient: str
    message_id: str
    date: datetime
    unsubscribe_url: str | None = None


def new_mail(envelope: Envelope, subject: str) -> EmailMessage:
    """Return a mail with its headers, but without a body; ``ValueError`` if a header cannot be written."""
    mail = EmailMessage(policy=POLICY)
    mail["Subject"] = subject
    mail["From"] = sender_header(envelope.sender)
    mail["To"] = envelope.recipient
    mail["Date"] = format_datetime(envelope.date)
    mail["Message-ID"] = f"<{envelope.message_id}>"
    mail["Auto-Submitted"] = "auto-generated"
    if envelope.unsubscribe_url is not None:
        # RFC 8058: a mail program can end the mails by one POST, without a page.
        mail["List-Unsubscribe"] = f"<{envelope.unsubscribe_url}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return mail
