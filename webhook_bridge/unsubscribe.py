"""Blueprint: an athlete ends the mails, by the link in each of them.

GET asks whether that is meant, because programs follow links, too; POST does it, from the page's button or straight
from a mail program (RFC 8058). The signed link is the permission: no session, no form's token.
"""

from __future__ import annotations

from flask import Blueprint, current_app

from strava_pipeline.keyring import Keyring
from strava_pipeline.notifications.unsubscribe import PATH, athlete_behind
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.notifications import unsubscribe
from webhook_bridge.pages import Answer, install_pages, message, page

NOT_FOUND, OK = 404, 200

unsubscribing = Blueprint("unsubscribing", __name__, template_folder="templates", url_prefix=PATH)
install_pages(unsubscribing)


@unsubscribing.get("/<token>")
def ask(token: str) -> Answer:
    """The page with the button."""
    return _stale() if _athlete(token) is None else page("unsubscribe.html", token=token)


@unsubscribing.post("/<token>")
def end(token: str) -> Answer:
    """No more mails; doing it again changes nothing."""
    athlete_id = _athlete(token)
    if athlete_id is None:
        return _stale()
    unsubscribe(current_app.extensions["engine"], athlete_id)
    text = "You get no more ride summaries, and your address is erased here. To get them again, connect anew with it."
    return message("No more mails", text, OK)


def _athlete(token: str) -> int | None:
    settings: Settings = current_app.extensions["settings"]
    return athlete_behind(token, Keyring.parse(settings.required("token_keys")))


def _stale() -> Answer:
    text = "It may be cut short, or too old. Try the link in the newest mail, or write to the mail's sender."
    return message("This link does not work", text, NOT_FOUND)
