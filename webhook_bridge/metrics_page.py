"""``GET /metrics`` for Prometheus, on the bridge's port or on a port of its own.

The bridge's port serves it for ``STRAVA_METRICS_TOKEN`` as bearer token, which opens nothing else; under any host name,
since a page of another site cannot send the token. A port of its own (``STRAVA_METRICS_PORT``) asks for no token. While
it listens on loopback it is served under this machine's names and ``STRAVA_BRIDGE_HOSTS`` only, so that no page of
another site reads it through the operator's browser (DNS rebinding). With neither setting there is no such page: that
a request comes from this machine proves nothing behind a forwarder.
"""

from __future__ import annotations

import hmac
import ipaddress
from http import HTTPStatus

from flask import Blueprint, Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from webhook_bridge.bad_requests import EVERYBODY, LONGEST_ADDRESS, NOBODY, PER_MINUTE, BadRequests, known_sender
from webhook_bridge.hosts import METRICS_PATH, host_name, our_names
from webhook_bridge.security_headers import install_security_headers

log = get_logger(__name__)

OPENMETRICS = "application/openmetrics-text"


def has_metrics(settings: Settings) -> bool:
    """Whether anybody may read metrics."""
    return settings.metrics_token is not None or settings.metrics_port is not None


def metrics_page(registry: CollectorRegistry, token: str) -> Blueprint:
    """The page for the bridge's own port.

    A wrong token gets 401; :mod:`webhook_bridge.bad_requests` says how wrong ones are limited, counted apart from the
    operator's: a scraper with an old token does not close the login.
    """
    blueprint = Blueprint("metrics", __name__)
    wrong = BadRequests()

    @blueprint.get(METRICS_PATH)
    def show() -> Response:
        sender = known_sender()
        closed_for = wrong.seconds_left(sender or NOBODY)
        if not (sender and closed_for) and _is_token(token):
            return _told(registry)
        return _too_many(closed_for) if closed_for else _refused(wrong, sender)

    return blueprint


def create_metrics_app(registry: CollectorRegistry, settings: Settings) -> Flask:
    """The app for a port of its own, which has this page only."""
    app = Flask(__name__, static_folder=None)
    names = our_names(settings) if _is_loopback(settings.metrics_host) else None
    install_security_headers(app)

    @app.before_request
    def refuse() -> Response | None:
        if names is None or host_name(request.host) in names:
            return None
        text = "Metrics are not served under this name: to allow that, add it to STRAVA_BRIDGE_HOSTS.\n"
        return Response(text, HTTPStatus.FORBIDDEN, mimetype="text/plain")

    @app.get(METRICS_PATH)
    def show() -> Response:
        return _told(registry)

    return app


def _told(registry: CollectorRegistry) -> Response:
    """The metrics as OpenMetrics if the client takes it, else in Prometheus' text format."""
    # What else the client says of a version would reach the library, which fails at some of it.
    encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in request.headers.get("Accept", "") else "")
    return Response(encode(registry), content_type=content_type)


def _is_token(token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _refused(wrong: BadRequests, sender: str | None) -> Response:
    wrong.add(sender or NOBODY)
    if wrong.add(EVERYBODY) <= PER_MINUTE:
        log.warning(
            "/metrics was asked for without the token by %s", printable(request.remote_addr or NOBODY, LONGEST_ADDRESS)
        )
    refused = Response("STRAVA_METRICS_TOKEN is asked for, as a bearer token.\n", HTTPStatus.UNAUTHORIZED)
    refused.headers["WWW-Authenticate"] = "Bearer"
    refused.mimetype = "text/plain"
    return refused


def _too_many(seconds: float) -> Response:
    answer = Response("Too many wrong tokens.\n", HTTPStatus.TOO_MANY_REQUESTS, mimetype="text/plain")
    answer.headers["Retry-After"] = str(int(seconds) + 1)
    return answer


def _is_loopback(host: str) -> bool:
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
