"""The Flask app: blueprints, what every request goes through, and error handlers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, jsonify
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable, WebhookRejected
from strava_pipeline.keyring import KeyPurpose, Keyring
from strava_pipeline.notifications.sender import check_sender
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings, SignatureMode
from webhook_bridge.bad_requests import BadRequests, install_limit, is_over_limit
from webhook_bridge.current import EXTENSION, Bridge
from webhook_bridge.health import health
from webhook_bridge.hosts import install_host_check
from webhook_bridge.intake import Intake
from webhook_bridge.request_ids import current_request_id, install_request_ids
from webhook_bridge.security_headers import install_security_headers
from webhook_bridge.site import install_site
from webhook_bridge.webhooks import BODY_CAP_BYTES, webhooks

log = get_logger(__name__)


def create_app(
    settings: Settings,
    engine: Engine,
    wake: Callable[[], None] = lambda: None,
    dispatcher_is_running: Callable[[], bool] = lambda: True,
    dagster_tasks_wake: Callable[[], None] = lambda: None,
    reading_engine: Engine | None = None,
) -> Flask:
    """The app; ``wake`` is called when an event was stored. ``ConfigurationError`` if it could not verify one.

    ``dagster_tasks_wake`` is called when an athlete has come or gone. Pages are read by ``reading_engine``, if given.
    """
    check_settings(settings)
    keyring = Keyring.parse(settings.required("token_keys"))
    app = Flask(__name__, static_folder=None)
    # Room for one byte too many, so that the handler decides about the cap, and nothing beyond is read.
    app.config["MAX_CONTENT_LENGTH"] = BODY_CAP_BYTES + 1
    # A path token may hold slashes, and Strava follows no redirect.
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = Bridge(
        settings=settings,
        keyring=keyring,
        csrf_key=keyring.derive_key(KeyPurpose.CSRF),
        engine=engine,
        reading_engine=reading_engine or engine,
        intake=Intake(engine),
        wrong_tokens=BadRequests(),
        wake_dispatcher=wake,
        dispatcher_is_running=dispatcher_is_running,
        wake_dagster_tasks=dagster_tasks_wake,
    )
    _install(app, settings)
    app.register_blueprint(webhooks)
    app.register_blueprint(health)
    install_site(app, settings, keyring)
    app.register_error_handler(WebhookRejected, _rejected)
    app.register_error_handler(DatabaseUnavailable, _database_away)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def _install(app: Flask, settings: Settings) -> None:
    """What every request goes through; what is done after it runs in the opposite order."""
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0, x_prefix=0)  # type: ignore[method-assign]  # Flask's own way
    install_request_ids(app, behind_proxy=settings.trusted_proxies > 0)
    install_security_headers(app)
    install_limit(app, BadRequests())
    install_host_check(app, settings)
    if settings.dangerously_open_without_login:
        log.warning(
            "STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN is on: whoever reaches the bridge's pages is the operator, and may"
            " connect and disconnect athletes"
        )


def check_settings(settings: Settings) -> None:
    """What the bridge cannot do without, and what nobody would be told of later: that no mail can be written."""
    settings.required("webhook_verify_token")
    check_sender(settings)
    if settings.webhook_signature is not SignatureMode.OFF and not settings.signing_secrets():
        raise ConfigurationError(
            "STRAVA_WEBHOOK_SIGNING_SECRETS is not set: set it, or set STRAVA_WEBHOOK_SIGNATURE=off together"
            " with STRAVA_WEBHOOK_PATH_TOKEN and STRAVA_WEBHOOK_SUBSCRIPTION_ID"
        )
    if settings.webhook_signature is not SignatureMode.REQUIRED and settings.webhook_path_token is None:
        raise ConfigurationError(
            "STRAVA_WEBHOOK_PATH_TOKEN is not set: without required signatures the path must be unguessable"
        )


def _rejected(error: WebhookRejected) -> tuple[Response, int]:
    if not is_over_limit():
        log.warning("delivery rejected: %s", error.reason)
    # One word for every failed signature: a forger learns nothing from the answer.
    reason = "signature" if error.reason.startswith("signature") else error.reason
    return _told(reason), error.status


def _database_away(error: DatabaseUnavailable) -> tuple[Response, int]:
    log.error("%s", error)
    return _told("unavailable"), HTTPStatus.SERVICE_UNAVAILABLE


def _http_error(error: HTTPException) -> tuple[Response, int, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return _told(error.name.lower()), error.code or HTTPStatus.INTERNAL_SERVER_ERROR, headers


def _unexpected(error: Exception) -> tuple[Response, int]:
    log.error("error in request %s", current_request_id(), exc_info=error)
    return _told("internal"), HTTPStatus.INTERNAL_SERVER_ERROR


def _told(error: str) -> Response:
    """A body that says no more than it must; the operator finds the rest in the log under the id."""
    return jsonify(error=error, id=current_request_id())
