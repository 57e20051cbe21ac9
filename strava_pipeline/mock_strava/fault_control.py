"""Flask blueprint ``/mock`` for tests of failures: scripted faults, rotation of tokens, and the mock's clock."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import TypeAdapter, ValidationError

from strava_pipeline.mock_strava.fault_scripts import FaultScript
from strava_pipeline.mock_strava.grants import Rotation
from strava_pipeline.mock_strava.refusals import Refused, bad_request
from strava_pipeline.mock_strava.state import current_mock

fault_control = Blueprint("fault_control", __name__)
_scripts = TypeAdapter(list[FaultScript])


@fault_control.post("/faults")
def script_faults() -> tuple[Response, int]:
    """Append one scripted fault or a list; nothing is added if one of them is invalid."""
    given = request.get_json(force=True)
    try:
        scripts = _scripts.validate_python(given if isinstance(given, list) else [given])
    except ValidationError as error:
        raise _unusable(error) from None
    current_mock().faults.add(scripts)
    return faults(), HTTPStatus.CREATED


@fault_control.get("/faults")
def faults() -> Response:
    """Return all scripted faults, each with the numbers of matching calls (``seen``), uses (``used``) and uses left."""
    return jsonify(current_mock().faults.bodies())


@fault_control.delete("/faults")
def clear_faults() -> Response:
    """Remove all scripted faults."""
    current_mock().faults.clear()
    return faults()


@fault_control.put("/tokens")
def set_rotation() -> Response:
    """Set the ``mode`` of refresh tokens: ``same``, ``rotate`` or ``revoke_on_reuse``."""
    try:
        mode = Rotation(_field("mode"))
    except ValueError:
        raise bad_request("Control", "mode", "invalid") from None
    current_mock().grants.rotation = mode
    return jsonify(mode=mode)


@fault_control.put("/clock")
def set_clock() -> Response:
    """Set ``offset_s``, by how many seconds the mock's clock is ahead of this machine's."""
    offset_s = _field("offset_s")
    if type(offset_s) not in (int, float):
        raise bad_request("Control", "offset_s", "invalid")
    current_mock().clock.offset_s = offset_s
    return jsonify(offset_s=offset_s)


def _field(name: str) -> Any:
    given = request.get_json(force=True)
    if not isinstance(given, dict) or set(given) != {name}:
        raise bad_request("Control", name, "missing")
    return given[name]


def _unusable(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    return bad_request("Control", place, first["msg"])
