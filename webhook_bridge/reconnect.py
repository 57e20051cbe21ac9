"""Blueprint: an athlete whose grant has ended connects again, by the link in a mail.

The signed link is the permission to connect, for this athlete alone; it ends once the athlete has connected. It leads
to the page that explains the connection, whose button leads to Strava.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, url_for
from werkzeug.wrappers import Response

from strava_pipeline.notifications.mail_links import ReconnectLink, read_reconnect_link
from strava_pipeline.redaction import SecretPath
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.grants import Grant, grant_of
from webhook_bridge.current import current_bridge
from webhook_bridge.invites import take_own_invite
from webhook_bridge.operator_login import require_token
from webhook_bridge.pages import Answer, install_pages, message

reconnecting = Blueprint("reconnecting", __name__, template_folder="templates", url_prefix=SecretPath.RECONNECT)
reconnecting.before_request(require_token)
install_pages(reconnecting)


@reconnecting.get("/<token>")
def begin(token: str) -> Answer | Response:
    """Let the browser connect this athlete, and show the page that explains it."""
    link = read_reconnect_link(token, current_bridge().keyring)
    if link is None:
        text = "It is incomplete or too old. Try the link in the newest mail, or write to the mail's sender."
        return message("This link does not work", text, HTTPStatus.NOT_FOUND)
    with current_bridge().engine.connect() as connection:
        grant = grant_of(connection, link.athlete_id)
    if not _is_open(link, grant):
        return _ended(grant)
    take_own_invite(token, link.athlete_id)
    return redirect(url_for("connect.invitation"), HTTPStatus.SEE_OTHER)


def _is_open(link: ReconnectLink, grant: Grant | None) -> bool:
    return not link.is_over and grant == Grant(GrantState.NEEDS_REAUTH, link.generation)


def _ended(grant: Grant | None) -> Answer:
    if grant is not None and grant.state is GrantState.ACTIVE:
        return message("You are connected", "There is nothing to do.", HTTPStatus.OK)
    text = "It was good for thirty days, or you were disconnected since. Ask the operator for a new one."
    return message("This link has ended", text, HTTPStatus.GONE)
