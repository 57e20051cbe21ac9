"""Who writes to whom, and the headers that every mail of ours carries."""

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
    """Who writes to whom, and what tells this mail from all others; ``unsubscribe_url`` ends them."""

    sender: Address
    recipient: str
    message_id: str
    date: datetime
    unsubscribe_url: str


def new_mail(envelope: Envelope, subject: str) -> EmailMessage:
    """A mail without a body. ``ValueError`` if a header cannot be written as it has to be read."""
    mail = EmailMessage(policy=POLICY)
    mail["Subject"] = subject
    mail["From"] = sender_header(envelope.sender)
    mail["To"] = envelope.recipient
    mail["Date"] = format_datetime(envelope.date)
    mail["Message-ID"] = f"<{envelope.message_id}>"
    mail["Auto-Submitted"] = "auto-generated"
    # RFC 8058: a mail program ends the mails by one POST, without a page.
    mail["List-Unsubscribe"] = f"<{envelope.unsubscribe_url}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return mail
