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
from strava_pipeline.mock_strava.fault_answers import bent
from strava_pipeline.mock_strava.fault_control import fault_control
from strava_pipeline.mock_strava.fault_scripts import WITHOUT_ANSWER, FaultScript
from strava_pipeline.mock_strava.limits import Counted
from strava_pipeline.mock_strava.oauth import oauth
from strava_pipeline.mock_strava.refusals import Refused, fault, no_such_path, over_limit
from strava_pipeline.mock_strava.state import EXTENSION, Mock, current_mock
from strava_pipeline.mock_strava.subscriptions import subscriptions

OAUTH = "/oauth"
CONTROL = "/mock"


class _RecordedOrder(DefaultJSONProvider):
    """Keys stay in the order they were recorded in."""

    sort_keys = False
    ensure_ascii = False


def create_mock(config: MockConfig, clock: Callable[[], float] = time.time) -> Flask:
    """A Strava under ``/oauth`` and where its form has the API, and its control endpoint under ``/mock``.

    ``clock`` gives epoch s. ``ConfigurationError`` if recordings cannot be read.
    """
    app = Flask(__name__, static_folder=None)
    app.json = _RecordedOrder(app)
    app.extensions[EXTENSION] = Mock.of(config, clock)
    # In this order, before each answer: a call counts whatever becomes of it, and the limit comes before all else
    # but for the faults that keep the call from being counted.
    for step in (_begin, _fail_uncounted, _count, _stay_within_limits, _fail_counted):
        app.before_request(step)
    # Flask goes through these from the last to the first.
    for last_step in (_note, _bend, _put_headers):
        app.after_request(last_step)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_blueprint(oauth, url_prefix=OAUTH)
    for api in (athlete, activities, subscriptions):
        app.register_blueprint(api, url_prefix=config.form.api or None)
    for controls in (control, fault_control):
        app.register_blueprint(controls, url_prefix=CONTROL)
    return app


def _begin() -> None:
    g.athlete_id = g.counted = None
    g.moment = current_mock().clock()
    g.faults = []


def _fail_uncounted() -> Response | None:
    script = _scripted(counted=False)
    if script is not None:
        # This call is late, and not its answer: it is counted, if at all, when it arrives.
        time.sleep(script.delay_s)
        g.moment = current_mock().clock()
    return _instead_of_answer(script)


def _count() -> None:
    if _is_api_call():
        g.counted = current_mock().limits.count()
        g.moment = g.counted.moment


def _stay_within_limits() -> None:
    counted: Counted | None = g.counted
    if counted is not None and counted.exceeded is not None:
        raise over_limit(counted.exceeded)


def _fail_counted() -> Response | None:
    return _instead_of_answer(_scripted(counted=True))


def _put_headers(response: Response) -> Response:
    # The moment that was counted, not a later one: so whoever settles by Date books the window that Strava did.
    response.date = datetime.fromtimestamp(g.moment, UTC)
    counted: Counted | None = g.counted
    on_streams = request.path.endswith("/streams") and response.status_code != HTTPStatus.TOO_MANY_REQUESTS
    if counted is not None and not on_streams:
        response.headers.update(counted.headers)
    return response


def _bend(response: Response) -> Response:
    scripts: list[FaultScript] = g.faults
    for script in scripts:
        if script.counted:
            time.sleep(script.delay_s)
        response = bent(script, response)
    return response


def _note(response: Response) -> Response:
    if not _is_control():
        counted: Counted | None = g.counted
        scripts: list[FaultScript] = g.faults
        unanswered = any(script.fault in WITHOUT_ANSWER for script in scripts)
        call = Call(
            g.moment,
            request.method,
            request.host,
            request.path,
            None if unanswered else response.status_code,
            g.athlete_id,
            counted=counted is not None,
            over_limit=counted is not None and counted.exceeded is not None,
            fault=", ".join(script.fault for script in scripts) or None,
        )
        current_mock().calls.note(call)
    return response


def _scripted(*, counted: bool) -> FaultScript | None:
    """The fault of this call, before or after it is counted, noted for when there is an answer."""
    if _is_control():
        return None
    script = current_mock().faults.pick(request.method, request.path, counted=counted)
    if script is not None:
        g.faults.append(script)
    return script


def _instead_of_answer(script: FaultScript | None) -> Response | None:
    """An answer that keeps the call from its work, to be made what the fault says; ``None``: the call goes on."""
    return None if script is None or script.leaves_call_alone else Response()


def _is_control() -> bool:
    return request.path.startswith(f"{CONTROL}/")


def _is_api_call() -> bool:
    api = current_mock().config.form.api
    return request.path.startswith(f"{api}/") and not _is_control() and not request.path.startswith(f"{OAUTH}/")


def _refused(refusal: Refused) -> tuple[Response, int]:
    return jsonify(refusal.body), refusal.status


def _http_error(error: HTTPException) -> tuple[Response, int]:
    if error.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return _refused(no_such_path())
    if error.code is None or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return jsonify(message="error"), HTTPStatus.INTERNAL_SERVER_ERROR
    return jsonify(fault(error.name)), error.code
