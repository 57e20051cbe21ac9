"""The mail about one activity, as text and as HTML, with the pictures inside."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from typing import TYPE_CHECKING

from strava_pipeline.notifications.envelope import Envelope, new_mail
from strava_pipeline.notifications.rendering import add_bodies
from strava_pipeline.notifications.summary import Summary
from strava_pipeline.notifications.wording import isolated, shown

if TYPE_CHECKING:
    from strava_pipeline.notifications.gallery import Picture

# Characters; mail programs cut longer subjects.
LONGEST_SUBJECT_TITLE = 48


def compose(summary: Summary, pictures: Mapping[str, Picture], envelope: Envelope) -> EmailMessage:
    """Compose the whole mail."""
    cids = {name: f"{name}.{envelope.message_id}" for name in pictures}
    told = {
        "summary": summary,
        "pictures": pictures,
        "cids": cids,
        "unsubscribe_url": envelope.unsubscribe_url,
    }
    mail = new_mail(envelope, subject(summary))
    add_bodies(mail, "ride", told)
    related = mail.get_payload()[1]  # type: ignore[index]  # a multipart's payload is its parts
    for name, picture in pictures.items():
        related.add_related(  # type: ignore[union-attr]  # and they are mails
            picture.png, "image", "png", cid=f"<{cids[name]}>", filename=f"{name}.png", disposition="inline"
        )
    return mail


def subject(summary: Summary) -> str:
    """Return the subject, such as ``Evening ride: 42.2 km, 1:32:05``."""
    title = shown(summary.title, LONGEST_SUBJECT_TITLE)
    figures = ", ".join(figure.value for figure in summary.figures if figure.label in {"Distance", "Moving time"})
    return f"{isolated(title)}: {figures}" if figures else isolated(title)
