"""Pages for people: rendering, headers, and pages for errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, render_template, request
from markupsafe import Markup
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from webhook_bridge.current import current_bridge
from webhook_bridge.operator_session import is_operator
from webhook_bridge.sessions import SAFE_METHODS, csrf_token

log = get_logger(__name__)

Answer = Response
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def page(template: str, status: int = HTTPStatus.OK, **context: object) -> Answer:
    """Render a page with its headers, which allow no script, and forms only to us and on to Strava's consent page."""
    settings = current_bridge().settings
    response = make_response(render_template(template, csrf=csrf_token, **context), status)
    strava = urlsplit(settings.oauth_url)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none';"
        # The browser applies this to a form's redirects as well, so Strava is named.
        f" form-action 'self' {strava.scheme}://{strava.netloc}"
    )
    # With no-referrer the browser would hide a form's origin, by which we know the form as ours.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def message(title: str, text: str, status: int, *, again: str | None = None) -> Answer:
    """Render a page with one message; ``again`` is the address of its button to try again, if it has one."""
    response = page("message.html", status, title=title, text=text, again=again)
    # The page's address may hold a code, and the page has no form that would need more.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def install_pages(blueprint: Blueprint) -> None:
    """Give a blueprint pages for its errors, and its templates their filters."""
    blueprint.register_error_handler(DatabaseUnavailable, _database_unavailable)
    blueprint.register_error_handler(PoolTimeout, _database_unavailable)
    blueprint.register_error_handler(ConfigurationError, _wrong_setting)
    blueprint.register_error_handler(HTTPException, _http_error)
    blueprint.app_template_filter("shown")(_shown)
    blueprint.app_template_filter("plain")(_plain)
    blueprint.app_template_filter("moment")(_moment)
    blueprint.app_template_filter("ago")(_ago)
    blueprint.app_template_filter("lasting")(lasting)


def _database_unavailable(error: Exception) -> Answer:
    log.error("%s", error)
    text = (
        "Try again in a minute. No event is lost: Strava delivers again what cannot be stored now."
        if request.method in SAFE_METHODS
        else "What you asked for may not be done. Load the page once the database answers, and press the button again."
    )
    return message("The database does not answer", text, HTTPStatus.SERVICE_UNAVAILABLE)


def _wrong_setting(error: ConfigurationError) -> Answer:
    """The page about a wrong setting: the operator sees which setting, others only that one is wrong."""
    log.error("%s", error)
    title = "A setting is wrong here"
    if is_operator():
        return message(title, f"{printable(str(error))}. Then restart the bridge.", HTTPStatus.INTERNAL_SERVER_ERROR)
    return message(
        title, "The operator has to correct it, and finds the reason in the log.", HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _http_error(error: HTTPException) -> Answer:
    return message(error.name, error.description or "", error.code or HTTPStatus.SERVICE_UNAVAILABLE)


def _shown(text: object) -> Markup:
    """Text of others for a page: printable, and without effect on the direction of the text beside it."""
    return Markup("<bdi>{}</bdi>").format(_plain(text))


def _plain(text: object) -> str:
    """Text of others where no element is allowed, such as in an attribute: printable."""
    return printable(str(text))


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _ago(at: datetime) -> str:
    return f"{lasting(datetime.now(UTC) - at)} ago"


def lasting(span: timedelta) -> str:
    """A time span as people say it, to one unit."""
    if span < MINUTE:
        return f"{max(int(span.total_seconds()), 0)} s"
    if span < HOUR:
        return f"{span // MINUTE} min"
    if span < 2 * DAY:
        return f"{span // HOUR} h"
    return f"{span // DAY} days"
