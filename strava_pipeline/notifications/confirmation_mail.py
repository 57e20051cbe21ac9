"""The mail that asks the owner of an address whether ride summaries may go there.

The mail may reach a stranger, so it contains no text that an athlete could choose, such as names or titles.
"""

from __future__ import annotations

from email.message import EmailMessage
from urllib.parse import urlsplit

from strava_pipeline.notifications.envelope import Envelope, new_mail
from strava_pipeline.notifications.rendering import add_bodies
from strava_pipeline.warehouse.mail.consent import CONFIRM_WITHIN

SUBJECT = "Confirm your address for ride summaries"


def compose_confirmation(athlete_id: int, confirm_url: str, envelope: Envelope) -> EmailMessage:
    """Compose the whole mail; ``ValueError`` if it cannot be written."""
    told = {
        "subject": SUBJECT,
        "athlete_id": athlete_id,
        "host": urlsplit(confirm_url).netloc,
        "days": CONFIRM_WITHIN.days,
        "confirm_url": confirm_url,
        "unsubscribe_url": envelope.unsubscribe_url,
    }
    mail = new_mail(envelope, SUBJECT)
    add_bodies(mail, "confirmation", told)
    return mail
