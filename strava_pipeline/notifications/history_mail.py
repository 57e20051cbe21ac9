"""The mail that tells an athlete that their archive has been imported: counts and months, no title and no picture."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from urllib.parse import urlsplit

from strava_pipeline.notifications.envelope import Envelope, new_mail
from strava_pipeline.notifications.rendering import add_bodies
from strava_pipeline.notifications.summary import Figure
from strava_pipeline.warehouse.mail.history import ImportedHistory

SUBJECT = "Your history is here"


def compose_history(history: ImportedHistory, bridge_url: str, envelope: Envelope) -> EmailMessage:
    """Compose the whole mail; ``ValueError`` if it cannot be written."""
    told = {
        "subject": SUBJECT,
        "host": urlsplit(bridge_url).netloc,
        "figures": tuple(_figures(history)),
        "unsubscribe_url": envelope.unsubscribe_url,
    }
    mail = new_mail(envelope, SUBJECT)
    add_bodies(mail, "history", told)
    return mail


def _figures(history: ImportedHistory) -> Iterator[Figure]:
    yield Figure("Activities", f"{history.activities:,}")
    yield Figure("With a recording", f"{history.recordings:,}")
    if history.first is not None and history.last is not None:
        yield Figure("First one", f"{history.first:%B %Y}")
        yield Figure("Last one", f"{history.last:%B %Y}")
