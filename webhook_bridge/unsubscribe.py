"""Blueprint: an athlete ends the mails, by the link in each mail.

GET shows a button, since programs follow links, too; POST, which the button or a mail program sends (RFC 8058), ends
the mails. The signed link is the permission: no session and no form's token is needed. It permits nothing else, and is
void once the address is changed or erased, or the operator has canceled all links.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint
from sqlalchemy import Connection

from strava_pipeline.notifications.mail_links import UnsubscribeLink, read_unsubscribe_link
from strava_pipeline.redaction import SecretPath
from strava_pipeline.warehouse.mail.consent import consent_of, end_mails
from webhook_bridge.current import current_bridge
from webhook_bridge.pages import Answer, install_pages, message, page

unsubscribing = Blueprint("unsubscribing", __name__, template_folder="templates", url_prefix=SecretPath.UNSUBSCRIBE)
install_pages(unsubscribing)


@unsubscribing.get("/<token>")
def ask(token: str) -> Answer:
    """Show the page with the button, or that there are no mails to end."""
    link = _link(token)
    if link is None:
        return _unknown()
    with current_bridge().engine.connect() as connection:
        consent = consent_of(connection, link.athlete_id)
    if consent is None:
        return _no_mails()
    return page("unsubscribe.html", token=token) if consent.unsubscribe_nonce == link.nonce else _void()


@unsubscribing.post("/<token>")
def end(token: str) -> Answer:
    """End the mails and erase the address; doing it again changes nothing."""
    link = _link(token)
    if link is None:
        return _unknown()
    with current_bridge().engine.begin() as connection:
        return _end(connection, link)


def _end(connection: Connection, link: UnsubscribeLink) -> Answer:
    if end_mails(connection, link.athlete_id, link.nonce) or consent_of(connection, link.athlete_id) is None:
        return _no_mails()
    return _void()


def _link(token: str) -> UnsubscribeLink | None:
    return read_unsubscribe_link(token, current_bridge().keyring)


def _no_mails() -> Answer:
    text = (
        "You get no more ride summaries, and no address of yours is kept here. To get them again, connect again and"
        " give an address."
    )
    return message("No more mails", text, HTTPStatus.OK)


def _void() -> Answer:
    text = (
        "It was canceled: another address was given since, or the operator canceled all earlier links. The link in a"
        " newer mail, or in the next one, works."
    )
    return message("This link has ended", text, HTTPStatus.GONE)


def _unknown() -> Answer:
    text = "It is incomplete or too old. Try the link in the newest mail, or write to the mail's sender."
    return message("This link does not work", text, HTTPStatus.NOT_FOUND)
