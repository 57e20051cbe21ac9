"""Pages for people: how they are rendered, the headers they carry, and how they say that something went wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, render_template
from markupsafe import Markup
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from webhook_bridge.current import current_bridge
from webhook_bridge.operator_session import is_operator
from webhook_bridge.sessions import csrf_token

log = get_logger(__name__)

Answer = Response
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def page(template: str, status: int = HTTPStatus.OK, **context: object) -> Answer:
    """A rendered page with its headers. It runs no script, and its forms go to us, or on to Strava's consent."""
    settings = current_bridge().settings
    response = make_response(render_template(template, csrf=csrf_token, **context), status)
    strava = urlsplit(settings.oauth_url)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none';"
        # A form's redirect counts as well.
        f" form-action 'self' {strava.scheme}://{strava.netloc}"
    )
    # With no-referrer the browser would not tell us that a form is our own.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def message(title: str, text: str, status: int, *, again: str | None = None) -> Answer:
    """A page that says one thing; ``again`` is where a button to try again leads."""
    response = page("message.html", status, title=title, text=text, again=again)
    # It may stand at an address that holds a code, and it has no form.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def install_pages(blueprint: Blueprint) -> None:
    """Let a blueprint's errors end on pages, and its templates tell times."""
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
    text = "The database does not answer. Nothing is lost: Strava delivers again what cannot be stored now."
    return message("The database is away", text, HTTPStatus.SERVICE_UNAVAILABLE)


def _wrong_setting(error: ConfigurationError) -> Answer:
    """What is missing or wrong, for the operator; others learn that something is."""
    log.error("%s", error)
    title = "A setting is wrong here"
    if is_operator():
        return message(title, f"{printable(str(error))}. Then restart the bridge.", HTTPStatus.INTERNAL_SERVER_ERROR)
    return message(
        title, "Whoever runs this has to mend it, and finds the reason in the log.", HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _http_error(error: HTTPException) -> Answer:
    return message(error.name, error.description or "", error.code or HTTPStatus.SERVICE_UNAVAILABLE)


def _shown(text: object) -> Markup:
    """Somebody's words on a page: printable, and without effect on the direction of what stands beside them."""
    return Markup("<bdi>{}</bdi>").format(_plain(text))


def _plain(text: object) -> str:
    """The same where no mark may stand, as in an attribute."""
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
