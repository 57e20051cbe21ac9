"""The mail that asks an athlete whose grant has ended to connect again."""

from __future__ import annotations

from email.message import EmailMessage
from urllib.parse import urlsplit

from strava_pipeline.notifications.envelope import Envelope, new_mail
from strava_pipeline.notifications.rendering import add_bodies
from strava_pipeline.warehouse.mail.reconnect import RECONNECT_WITHIN

SUBJECT = "Connect your Strava account again"


def compose_reconnect(reconnect_url: str, envelope: Envelope) -> EmailMessage:
    """Compose the whole mail; ``ValueError`` if it cannot be written."""
    told = {
        "subject": SUBJECT,
        "host": urlsplit(reconnect_url).netloc,
        "days": RECONNECT_WITHIN.days,
        "reconnect_url": reconnect_url,
        "unsubscribe_url": envelope.unsubscribe_url,
    }
    mail = new_mail(envelope, SUBJECT)
    add_bodies(mail, "reconnect", told)
    return mail
