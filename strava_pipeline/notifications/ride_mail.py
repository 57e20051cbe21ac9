"""The mail about one activity: text, the same as HTML, and the pictures inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING

from strava_pipeline.notifications.rendering import templates
from strava_pipeline.notifications.summary import Summary
from strava_pipeline.notifications.wording import isolated

if TYPE_CHECKING:
    from strava_pipeline.notifications.gallery import Picture

# Longer ones are cut by mail programs anyway.
LONGEST_SUBJECT_TITLE = 48
WORD_JOINER = "\u2060"


@dataclass(frozen=True)
class Envelope:
    """Who writes to whom, and what tells this mail from all others."""

    sender: Address
    recipient: str
    message_id: str
    date: datetime
    unsubscribe_url: str


def compose(summary: Summary, pictures: Mapping[str, Picture], envelope: Envelope) -> EmailMessage:
    """The whole mail; every line is ASCII of at most 76 characters or so, for any server."""
    cids = {name: f"{name}.{envelope.message_id}" for name in pictures}
    told = {
        "summary": summary,
        "pictures": pictures,
        "cids": cids,
        "unsubscribe_url": envelope.unsubscribe_url,
    }
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = subject(summary)
    mail["From"] = envelope.sender
    mail["To"] = envelope.recipient
    mail["Date"] = format_datetime(envelope.date)
    mail["Message-ID"] = f"<{envelope.message_id}>"
    mail["Auto-Submitted"] = "auto-generated"
    # RFC 8058: a mail program ends the mails by one POST, without a page.
    mail["List-Unsubscribe"] = f"<{envelope.unsubscribe_url}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(templates().get_template("ride.txt.j2").render(told), cte="quoted-printable")
    html = templates().get_template("ride.html.j2").render(told)
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    related = mail.get_payload()[1]  # type: ignore[index]  # a multipart's payload is its parts
    for name, picture in pictures.items():
        related.add_related(  # type: ignore[union-attr]  # and they are mails
            picture.png, "image", "png", cid=f"<{cids[name]}>", filename=f"{name}.png", disposition="inline"
        )
    return mail


def subject(summary: Summary) -> str:
    """Such as ``Evening ride: 42.2 km, 1:32:05``."""
    title = summary.title
    if len(title) > LONGEST_SUBJECT_TITLE:
        title = f"{title[: LONGEST_SUBJECT_TITLE - 1].rstrip()}\u2026"
    # What looks like an encoded word (RFC 2047) would be read as one.
    title = title.replace("=?", f"={WORD_JOINER}?")
    figures = ", ".join(figure.value for figure in summary.figures if figure.label in {"Distance", "Moving time"})
    return f"{isolated(title)}: {figures}" if figures else isolated(title)
