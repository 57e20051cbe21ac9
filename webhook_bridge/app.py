"""The Flask app: blueprints, error handlers, headers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from flask import Flask, Response, jsonify
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError, DatabaseAway, WebhookRejected
from strava_pipeline.settings import Settings, SignatureMode
from webhook_bridge.health import health
from webhook_bridge.intake import Intake
from webhook_bridge.webhooks import BODY_CAP_BYTES, webhooks

log = logging.getLogger(__name__)

UNAVAILABLE = 503
INTERNAL = 500


def create_app(
    settings: Settings,
    engine: Engine,
    wake: Callable[[], None] = lambda: None,
    dispatcher_is_running: Callable[[], bool] = lambda: True,
) -> Flask:
    """The app; ``wake`` is called when an event was stored. ``ConfigurationError`` if it could not verify one."""
    redaction.install()
    check_settings(settings)
    app = Flask(__name__, static_folder=None)
    # Room for one byte too many, so that the handler decides about the cap, and nothing beyond is read.
    app.config["MAX_CONTENT_LENGTH"] = BODY_CAP_BYTES + 1
    app.extensions["settings"] = settings
    app.extensions["engine"] = engine
    app.extensions["intake"] = Intake(engine)
    app.extensions["dispatcher_wake"] = wake
    app.extensions["dispatcher_is_running"] = dispatcher_is_running
    app.register_blueprint(webhooks)
    app.register_blueprint(health)
    app.register_error_handler(WebhookRejected, _rejected)
    app.register_error_handler(DatabaseAway, _database_away)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_harden)
    return app


def check_settings(settings: Settings) -> None:
    """What the bridge cannot do without."""
    settings.required("webhook_verify_token")
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
    log.warning("delivery rejected: %s", error.reason)
    # One word for every failed signature: a forger learns nothing from the answer.
    reason = "signature" if error.reason.startswith("signature") else error.reason
    return jsonify(error=reason), error.status


def _database_away(error: DatabaseAway) -> tuple[Response, int]:
    log.error("%s", error)
    return jsonify(error="unavailable"), UNAVAILABLE


def _http_error(error: HTTPException) -> tuple[Response, int, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return jsonify(error=error.name.lower()), error.code or INTERNAL, headers


def _unexpected(error: Exception) -> tuple[Response, int]:
    error_id = secrets.token_hex(6)
    log.error("error %s", error_id, exc_info=error)
    return jsonify(error="internal", id=error_id), INTERNAL


def _harden(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
