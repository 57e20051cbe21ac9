"""Blueprint: the owner of an address confirms, by the link in a first mail, that ride summaries may go there.

GET shows a button, since programs follow links, too; POST, which the button sends, confirms. The signed link is the
permission; no login is needed. The link is good for a week, for this athlete and this address. It permits to confirm,
and to see the link that ends the mails.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint
from sqlalchemy import Connection

from strava_pipeline.notifications.mail_links import is_for, read_confirm_link, unsubscribe_url
from strava_pipeline.redaction import SecretPath
from strava_pipeline.warehouse.mail.consent import Confirmed, Consent, confirm_address, consent_of
from webhook_bridge.current import current_bridge
from webhook_bridge.pages import Answer, install_pages, message, page

confirming = Blueprint("confirming", __name__, template_folder="templates", url_prefix=SecretPath.CONFIRM)
install_pages(confirming)


@confirming.get("/<token>")
def ask(token: str) -> Answer:
    """Show the page with the button, or that the address was confirmed before."""
    with current_bridge().engine.connect() as connection:
        consent = _consent(connection, token)
    if isinstance(consent, Consent):
        return page("confirm.html", token=token) if consent.confirmed_at is None else _was_confirmed(consent)
    return consent


@confirming.post("/<token>")
def confirm(token: str) -> Answer:
    """Confirm the address; doing it again changes nothing."""
    with current_bridge().engine.begin() as connection:
        consent = _consent(connection, token)
        if isinstance(consent, Consent):
            return _confirmed(connection, consent)
    return consent


def _consent(connection: Connection, token: str) -> Consent | Answer:
    """The stored consent that a link is about, or the page that says why the link is not valid."""
    link = read_confirm_link(token)
    consent = None if link is None else consent_of(connection, link.athlete_id)
    if link is None or consent is None or not is_for(link, current_bridge().keyring, consent):
        return _void()
    if link.is_over and consent.confirmed_at is None:
        text = "It was good for a week. Connect again with your address to get a new one."
        return message("This link is too old", text, HTTPStatus.GONE)
    return consent


def _confirmed(connection: Connection, consent: Consent) -> Answer:
    match confirm_address(connection, consent):
        case Confirmed.NOW:
            return _is_confirmed(consent, "Your address is confirmed")
        case Confirmed.BEFORE:
            return _was_confirmed(consent)
    return _void()


def _was_confirmed(consent: Consent) -> Answer:
    return _is_confirmed(consent, "Your address was confirmed before")


def _is_confirmed(consent: Consent, title: str) -> Answer:
    return page("confirmed.html", title=title, end=unsubscribe_url("", current_bridge().keyring, consent))


def _void() -> Answer:
    text = (
        "It is incomplete, or was canceled, or the address was changed or erased since. To get ride summaries, use the"
        " link in the newest mail, or connect again with your address."
    )
    return message("This link does not work", text, HTTPStatus.NOT_FOUND)
