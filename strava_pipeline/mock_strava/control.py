"""Blueprint ``/mock``: what no Strava has. Make things happen, and see what was called and delivered."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from strava_pipeline.mock_strava.history import fresh_activity
from strava_pipeline.mock_strava.refusals import bad_request, not_found
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.state import current_mock
from strava_pipeline.mock_strava.world import Activity

# Strava tells of changes of these alone, and under these names.
TOLD = {"name": "title", "type": "type", "sport_type": "type", "private": "private", "visibility": "private"}

control = Blueprint("control", __name__)


@control.post("/activities")
def add_activity() -> tuple[Response, int]:
    """A fresh activity of ``athlete_id``; further fields shape it or replace fields of its body."""
    mock, fields = current_mock(), _fields()
    athlete_id = _athlete_id(fields.pop("athlete_id", None))
    silent = fields.pop("silent", False)
    activity = fresh_activity(mock.world, athlete_id, mock.clock(), fields)
    mock.world.add(athlete_id, activity)
    if not silent:
        mock.tell("activity", "create", activity.id, athlete_id)
    return jsonify(id=activity.id), HTTPStatus.CREATED


@control.put("/activities/<int:activity_id>")
def change_activity(activity_id: int) -> Response:
    """Set fields of its bodies. As at Strava only changes of title, type and privacy are told."""
    mock, fields = current_mock(), _fields()
    owner, activity = _found(activity_id)
    silent = fields.pop("silent", False)
    activity.change({key: value for key, value in fields.items() if key != "id"})
    updates = {TOLD[key]: _told(activity, key, value) for key, value in fields.items() if key in TOLD}
    if updates and not silent:
        mock.tell("activity", "update", activity_id, owner, updates)
    return jsonify(id=activity_id, updates=updates)


@control.delete("/activities/<int:activity_id>")
def delete_activity(activity_id: int) -> Response:
    """Remove it; with ``?silent=true`` nobody is told."""
    mock = current_mock()
    owner, _ = _found(activity_id)
    mock.world.remove(owner, activity_id)
    if request.args.get("silent") != "true":
        mock.tell("activity", "delete", activity_id, owner)
    return jsonify(id=activity_id)


@control.post("/deauthorize")
def deauthorize() -> Response:
    """The athlete withdraws their consent."""
    mock, athlete_id = current_mock(), _athlete_id(_fields().get("athlete_id"))
    mock.grants.revoke(athlete_id)
    mock.tell("athlete", "update", athlete_id, athlete_id, {"authorized": "false"})
    return jsonify(athlete_id=athlete_id)


@control.post("/tokens/expire")
def expire_tokens() -> Response:
    """End access tokens now: those of ``athlete_id``, or all."""
    athlete_id = _fields().get("athlete_id")
    current_mock().grants.expire(None if athlete_id is None else _athlete_id(athlete_id))
    return jsonify(athlete_id=athlete_id)


@control.post("/limits/reset")
def reset_limits() -> Response:
    """Forget what was used of the limits."""
    current_mock().limits.reset()
    return jsonify({})


@control.put("/callback")
def set_callback() -> Response:
    """Where events go while there is no subscription; ``null`` for nowhere."""
    url = _fields().get("url")
    if url is not None and not isinstance(url, str):
        raise bad_request("Control", "url", "invalid")
    current_mock().callback = url
    return jsonify(url=url)


@control.get("/calls")
def calls() -> Response:
    """Every call, and totals."""
    return jsonify(current_mock().calls.body())


@control.get("/deliveries")
def deliveries() -> Response:
    """Every event, with its attempts."""
    return jsonify(current_mock().deliveries.bodies())


@control.get("/athletes")
def athletes() -> Response:
    """Who there is, each with a fresh code that stays valid until it is used."""
    mock = current_mock()
    return jsonify(
        [
            {
                "id": person.id,
                "name": person.name,
                "activities": len(person.activities),
                "code": mock.grants.lasting_code(person.id),
            }
            for person in mock.world
        ]
    )


def _fields() -> JsonObject:
    """The JSON object in the request; an empty body is an empty object."""
    if not request.get_data():
        return {}
    fields = request.get_json(force=True)
    if not isinstance(fields, dict):
        raise bad_request("Control", "body", "invalid")
    start = fields.get("start_date")
    if start is not None and not _is_instant(start):
        raise bad_request("Control", "start_date", "invalid")
    return fields


def _is_instant(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _athlete_id(value: Any) -> int:
    if type(value) is not int or value not in current_mock().world.people:
        raise not_found("Athlete")
    return value


def _found(activity_id: int) -> tuple[int, Activity]:
    world = current_mock().world
    owner = world.owner_of(activity_id)
    activity = None if owner is None else world.find(owner, activity_id)
    if owner is None or activity is None:
        raise not_found("Activity")
    return owner, activity


def _told(activity: Activity, key: str, value: Any) -> str:
    """As Strava writes it into ``updates``: text, ``true`` and ``false`` included."""
    return str(activity.private).lower() if TOLD[key] == "private" else str(value)
