"""The Flask app: its blueprints, the checks around every request, and its error handlers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, jsonify
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
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
from webhook_bridge.write_probe import WriteProbe

log = get_logger(__name__)


def create_app(
    settings: Settings,
    engine: Engine,
    wake: Callable[[], None] = lambda: None,
    dispatcher_is_running: Callable[[], bool] = lambda: True,
    dagster_tasks_wake: Callable[[], None] = lambda: None,
    reading_engine: Engine | None = None,
) -> Flask:
    """Create the app. ``ConfigurationError`` if a setting that it needs is missing.

    ``wake`` is called after a new event was stored, ``dagster_tasks_wake`` after an athlete connected or was
    disconnected. The status page reads by ``reading_engine``, if given.
    """
    check_settings(settings)
    keyring = Keyring.parse(settings.required("token_keys"))
    app = Flask(__name__, static_folder=None)
    # One byte more than the cap: the handler can tell that a body is too large, and no more of it is read.
    app.config["MAX_CONTENT_LENGTH"] = BODY_CAP_BYTES + 1
    # Flask would redirect from a path with two slashes in a row; a path token may hold them, and Strava follows none.
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = Bridge(
        settings=settings,
        keyring=keyring,
        csrf_key=keyring.derive_key(KeyPurpose.CSRF),
        engine=engine,
        reading_engine=reading_engine or engine,
        intake=Intake(engine),
        write_probe=WriteProbe(engine),
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
    app.register_error_handler(DatabaseUnavailable, _database_unavailable)
    app.register_error_handler(PoolTimeout, _database_unavailable)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def _install(app: Flask, settings: Settings) -> None:
    """Install the checks around every request; those after the request run in the opposite order."""
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0, x_prefix=0)  # type: ignore[method-assign]  # Flask's own way
    install_request_ids(app, behind_proxy=settings.trusted_proxies > 0)
    install_security_headers(app)
    install_limit(app, BadRequests())
    install_host_check(app, settings)
    if settings.dangerously_open_without_login:
        log.warning(
            "STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN is on: everybody who reaches the bridge's pages is the operator, and"
            " may connect and disconnect athletes"
        )


def check_settings(settings: Settings) -> None:
    """Check the settings that the bridge needs, and those of mails, whose faults would not show later.

    ``ConfigurationError`` says which is missing or wrong.
    """
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


def _database_unavailable(error: DatabaseUnavailable | PoolTimeout) -> tuple[Response, int]:
    # For deliveries and health checks; pages.py has a page for people.
    log.error("%s", error)
    return _told("unavailable"), HTTPStatus.SERVICE_UNAVAILABLE


def _http_error(error: HTTPException) -> tuple[Response, int, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return _told(error.name.lower()), error.code or HTTPStatus.INTERNAL_SERVER_ERROR, headers


def _unexpected(error: Exception) -> tuple[Response, int]:
    log.error("error in request %s", current_request_id(), exc_info=error)
    return _told("internal"), HTTPStatus.INTERNAL_SERVER_ERROR


def _told(error: str) -> Response:
    """A body with a short reason, and the request's id, by which the operator finds the rest in the log."""
    return jsonify(error=error, id=current_request_id())
