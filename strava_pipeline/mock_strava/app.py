"""The Flask app of the mock: its blueprints, and the steps before and after each answer."""

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
from strava_pipeline.mock_strava.fault_answers import apply_fault
from strava_pipeline.mock_strava.fault_control import fault_control
from strava_pipeline.mock_strava.fault_scripts import WITHOUT_ANSWER, FaultScript
from strava_pipeline.mock_strava.limits import CountedCall
from strava_pipeline.mock_strava.oauth import oauth
from strava_pipeline.mock_strava.refusals import Refused, fault, no_such_path, over_limit
from strava_pipeline.mock_strava.state import EXTENSION, Mock, current_mock
from strava_pipeline.mock_strava.subscriptions import subscriptions
from strava_pipeline.mock_strava.world import World

OAUTH = "/oauth"
CONTROL = "/mock"


class _OrderedJson(DefaultJSONProvider):
    """A JSON provider that keeps the order of keys, as they were recorded."""

    sort_keys = False
    ensure_ascii = False


def create_mock(config: MockConfig, clock: Callable[[], float] = time.time, world: World | None = None) -> Flask:
    """Return the mock's app: OAuth under ``/oauth``, the API under the path of its form, the control under ``/mock``.

    ``clock`` returns epoch s; ``world`` replaces the recorded or generated athletes. ``ConfigurationError`` if
    recordings cannot be read.
    """
    app = Flask(__name__, static_folder=None)
    app.json = _OrderedJson(app)
    app.extensions[EXTENSION] = Mock.of(config, clock, world)
    # The order matters: each call is counted, also a failing one, and the limit is checked first of all. Only faults
    # that keep a call from being counted come before.
    for step in (_start_call, _fail_uncounted, _count, _stay_within_limits, _fail_counted):
        app.before_request(step)
    # Flask calls these from the last to the first.
    for last_step in (_log_call, _apply_faults, _put_headers):
        app.after_request(last_step)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_blueprint(oauth, url_prefix=OAUTH)
    for api in (athlete, activities, subscriptions):
        app.register_blueprint(api, url_prefix=config.form.api or None)
    for controls in (control, fault_control):
        app.register_blueprint(controls, url_prefix=CONTROL)
    return app


def _start_call() -> None:
    g.athlete_id = g.counted = None
    g.moment = current_mock().clock()
    g.faults = []


def _fail_uncounted() -> Response | None:
    script = _pick_fault(counted=False)
    if script is not None:
        # The request itself is delayed, not its answer: it is counted, if at all, when it arrives.
        time.sleep(script.delay_s)
        g.moment = current_mock().clock()
    return _replacement_answer(script)


def _count() -> None:
    if _is_api_call():
        g.counted = current_mock().limits.count()
        g.moment = g.counted.moment


def _stay_within_limits() -> None:
    counted: CountedCall | None = g.counted
    if counted is not None and counted.exceeded is not None:
        raise over_limit(counted.exceeded)


def _fail_counted() -> Response | None:
    return _replacement_answer(_pick_fault(counted=True))


def _put_headers(response: Response) -> Response:
    # Date is the moment of counting, so that a client that settles by Date uses the window that the mock counted in.
    response.date = datetime.fromtimestamp(g.moment, UTC)
    counted: CountedCall | None = g.counted
    on_streams = request.path.endswith("/streams") and response.status_code != HTTPStatus.TOO_MANY_REQUESTS
    if counted is not None and not on_streams:
        response.headers.update(counted.headers)
    return response


def _apply_faults(response: Response) -> Response:
    scripts: list[FaultScript] = g.faults
    for script in scripts:
        if script.counted:
            time.sleep(script.delay_s)
        response = apply_fault(script, response)
    return response


def _log_call(response: Response) -> Response:
    if not _is_control():
        counted: CountedCall | None = g.counted
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


def _pick_fault(*, counted: bool) -> FaultScript | None:
    """Pick the scripted fault of this call, before or after the call is counted, and keep it for the answer."""
    if _is_control():
        return None
    script = current_mock().faults.pick(request.method, request.path, counted=counted)
    if script is not None:
        g.faults.append(script)
    return script


def _replacement_answer(script: FaultScript | None) -> Response | None:
    """Return an empty answer if the fault replaces the call, to be filled later; ``None`` if the call goes on."""
    return None if script is None or script.does_work else Response()


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
