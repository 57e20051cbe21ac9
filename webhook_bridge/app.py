"""The Flask app: its blueprints, the checks around every request, and its error handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from strava_pipeline.warehouse.reading import Reader
from webhook_bridge.background_reading import BackgroundReading
from webhook_bridge.bad_requests import BadRequests, install_limit, is_over_limit
from webhook_bridge.counters import Counters
from webhook_bridge.current import EXTENSION, Bridge, bridge_of
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.health import health
from webhook_bridge.hosts import install_host_check
from webhook_bridge.intake import Intake
from webhook_bridge.metrics import metrics_registry
from webhook_bridge.metrics_page import metrics_page
from webhook_bridge.request_ids import current_request_id, install_request_ids
from webhook_bridge.security_headers import install_security_headers
from webhook_bridge.seen_sessions import SeenSessions
from webhook_bridge.site import install_site
from webhook_bridge.upload_tickets import Tickets
from webhook_bridge.webhooks import BODY_CAP_BYTES, takes_deliveries, webhooks
from webhook_bridge.worker_thread import WorkerThread
from webhook_bridge.write_probe import WriteProbe

log = get_logger(__name__)


def create_app(
    settings: Settings,
    engine: Engine,
    wake: Callable[[], None] = lambda: None,
    dagster_tasks_wake: Callable[[], None] = lambda: None,
    reader: Reader | None = None,
    threads: Sequence[WorkerThread] = (),
    counters: Counters | None = None,
    reading: BackgroundReading | None = None,
) -> Flask:
    """Create the app. ``ConfigurationError`` if a setting that it needs is missing.

    ``wake`` is called after a new event was stored, ``dagster_tasks_wake`` after an athlete connected or was
    disconnected. The status page reads by ``reader``, if given. Without one of ``threads`` the bridge is not alive.
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
        tickets=Tickets(keyring),
        engine=engine,
        reader=reader or Reader(engine),
        seen_sessions=SeenSessions(),
        intake=Intake(engine),
        write_probe=WriteProbe(engine),
        wrong_tokens=BadRequests(),
        wake_dispatcher=wake,
        threads=threads,
        counters=counters or Counters(),
        reading=reading or BackgroundReading(settings, engine),
        wake_dagster_tasks=dagster_tasks_wake,
        dagster=DagsterServer.from_settings(settings),
    )
    _install(app, settings)
    app.register_blueprint(webhooks)
    app.register_blueprint(health)
    if settings.metrics_token is not None:
        registry = metrics_registry(bridge_of(app))
        app.register_blueprint(metrics_page(registry, settings.metrics_token.get_secret_value()))
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
    """Check the settings that the bridge needs, and those of mails and of a header, whose faults would not show later.

    ``ConfigurationError`` says which is missing or wrong.
    """
    check_sender(settings)
    settings.header_for_dagster()
    if not takes_deliveries(settings):
        return
    settings.required("webhook_verify_token")
    if settings.webhook_signature is not SignatureMode.OFF and not settings.signing_secrets():
        raise ConfigurationError(
            "STRAVA_WEBHOOK_SIGNING_SECRETS is not set: set it, or set STRAVA_WEBHOOK_SIGNATURE=off together"
            " with STRAVA_WEBHOOK_PATH_TOKEN and STRAVA_WEBHOOK_SUBSCRIPTION_ID"
        )
    if settings.webhook_signature is not SignatureMode.REQUIRED and settings.webhook_path_token is None:
        raise ConfigurationError(
            "STRAVA_WEBHOOK_PATH_TOKEN is not set: unless signatures are required, the callback's path must be"
            " unguessable; set it to 32 random characters"
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
