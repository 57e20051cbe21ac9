"""The Flask app: what stands before and behind every answer, and the blueprints in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Flask, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException

from strava_pipeline.mock_strava.activities import activities
from strava_pipeline.mock_strava.athlete import athlete
from strava_pipeline.mock_strava.calls import Call
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.control import control
from strava_pipeline.mock_strava.limits import Counted
from strava_pipeline.mock_strava.oauth import oauth
from strava_pipeline.mock_strava.refusals import Refused, fault, no_such_path, over_limit
from strava_pipeline.mock_strava.state import EXTENSION, Mock, current_mock
from strava_pipeline.mock_strava.subscriptions import subscriptions

API = "/api/v3"
OAUTH = "/oauth"


class _RecordedOrder(DefaultJSONProvider):
    """Keys stay in the order they were recorded in."""

    sort_keys = False
    ensure_ascii = False


def create_mock(config: MockConfig, clock: Callable[[], float] = time.time) -> Flask:
    """A Strava under ``/oauth`` and ``/api/v3``, and its control endpoint under ``/mock``; ``clock`` gives epoch s.

    ``ConfigurationError`` if recordings cannot be read.
    """
    app = Flask(__name__, static_folder=None)
    app.json = _RecordedOrder(app)
    app.extensions[EXTENSION] = Mock.of(config, clock)
    # In this order, before each answer: a call counts whatever becomes of it, and the limit comes before all else.
    app.before_request(_count)
    app.before_request(_stay_within_limits)
    app.after_request(_put_headers)
    app.after_request(_note)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_blueprint(oauth, url_prefix=OAUTH)
    for api in (athlete, activities, subscriptions):
        app.register_blueprint(api, url_prefix=API)
    app.register_blueprint(control, url_prefix="/mock")
    return app


def _count() -> None:
    mock = current_mock()
    g.athlete_id = None
    g.counted = mock.limits.count() if request.path.startswith(f"{API}/") else None
    g.moment = g.counted.moment if g.counted else mock.clock()


def _stay_within_limits() -> None:
    counted: Counted | None = g.counted
    if counted is not None and counted.exceeded is not None:
        raise over_limit(counted.exceeded)


def _put_headers(response: Response) -> Response:
    # The moment that was counted, not a later one: so whoever settles by Date books the window that Strava did.
    response.date = datetime.fromtimestamp(g.moment, UTC)
    counted: Counted | None = g.counted
    on_streams = request.path.endswith("/streams") and response.status_code != HTTPStatus.TOO_MANY_REQUESTS
    if counted is not None and not on_streams:
        response.headers.update(counted.headers)
    return response


def _note(response: Response) -> Response:
    if request.path.startswith((f"{API}/", f"{OAUTH}/")):
        counted: Counted | None = g.counted
        call = Call(
            g.moment,
            request.method,
            request.path,
            response.status_code,
            g.athlete_id,
            counted=counted is not None,
            over_limit=counted is not None and counted.exceeded is not None,
        )
        current_mock().calls.note(call)
    return response


def _refused(refusal: Refused) -> tuple[Response, int]:
    return jsonify(refusal.body), refusal.status


def _http_error(error: HTTPException) -> tuple[Response, int]:
    if error.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return _refused(no_such_path())
    if error.code is None or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return jsonify(message="error"), HTTPStatus.INTERNAL_SERVER_ERROR
    return jsonify(fault(error.name)), error.code
