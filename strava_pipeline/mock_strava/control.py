"""Flask blueprint ``/mock``, which Strava does not have: change activities and grants, see calls and deliveries."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from strava_pipeline.mock_strava.history import generate_activity
from strava_pipeline.mock_strava.refusals import bad_request, not_found
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.state import current_mock
from strava_pipeline.mock_strava.world import Activity

# Strava sends update events for these fields only, and calls them so in ``updates``.
REPORTED_FIELDS = {"name": "title", "type": "type", "sport_type": "type", "private": "private", "visibility": "private"}

control = Blueprint("control", __name__)


@control.post("/activities")
def add_activity() -> tuple[Response, int]:
    """Add a new activity of ``athlete_id``; further fields decide its kind or replace fields of its body.

    With ``silent`` no event is sent.
    """
    mock, fields = current_mock(), _fields()
    athlete_id = _athlete_id(fields.pop("athlete_id", None))
    silent = fields.pop("silent", False)
    activity = generate_activity(mock.world, athlete_id, mock.clock(), fields)
    mock.world.add(athlete_id, activity)
    if not silent:
        mock.send_event("activity", "create", activity.id, athlete_id)
    return jsonify(id=activity.id), HTTPStatus.CREATED


@control.put("/activities/<int:activity_id>")
def change_activity(activity_id: int) -> Response:
    """Set fields of an activity; as at Strava, only changes of title, type and privacy send an event."""
    mock, fields = current_mock(), _fields()
    owner, activity = _find_activity(activity_id)
    silent = fields.pop("silent", False)
    activity.change({key: value for key, value in fields.items() if key != "id"})
    updates = {
        REPORTED_FIELDS[key]: _update_text(activity, key, value)
        for key, value in fields.items()
        if key in REPORTED_FIELDS
    }
    if updates and not silent:
        mock.send_event("activity", "update", activity_id, owner, updates)
    return jsonify(id=activity_id, updates=updates)


@control.delete("/activities/<int:activity_id>")
def delete_activity(activity_id: int) -> Response:
    """Remove an activity; with ``?silent=true`` no event is sent."""
    mock = current_mock()
    owner, _ = _find_activity(activity_id)
    mock.world.remove(owner, activity_id)
    if request.args.get("silent") != "true":
        mock.send_event("activity", "delete", activity_id, owner)
    return jsonify(id=activity_id)


@control.post("/deauthorize")
def deauthorize() -> Response:
    """End an athlete's grant, as if the athlete deauthorized the app at Strava."""
    mock, athlete_id = current_mock(), _athlete_id(_fields().get("athlete_id"))
    mock.grants.revoke(athlete_id)
    mock.send_event("athlete", "update", athlete_id, athlete_id, {"authorized": "false"})
    return jsonify(athlete_id=athlete_id)


@control.post("/tokens/expire")
def expire_tokens() -> Response:
    """Let the access tokens of ``athlete_id`` expire now, or those of all athletes."""
    athlete_id = _fields().get("athlete_id")
    current_mock().grants.expire(None if athlete_id is None else _athlete_id(athlete_id))
    return jsonify(athlete_id=athlete_id)


@control.post("/limits/reset")
def reset_limits() -> Response:
    """Reset the counters of the rate limits."""
    current_mock().limits.reset()
    return jsonify({})


@control.put("/callback")
def set_callback() -> Response:
    """Set the URL that gets events while there is no subscription; ``null`` for none."""
    url = _fields().get("url")
    if url is not None and not isinstance(url, str):
        raise bad_request("Control", "url", "invalid")
    current_mock().callback = url
    return jsonify(url=url)


@control.get("/calls")
def calls() -> Response:
    """Return the latest calls, and totals."""
    return jsonify(current_mock().calls.body())


@control.get("/deliveries")
def deliveries() -> Response:
    """Return all events with their delivery attempts."""
    return jsonify(current_mock().deliveries.bodies())


@control.get("/athletes")
def athletes() -> Response:
    """Return all athletes, each with a new authorization code that is valid until it is used."""
    mock = current_mock()
    return jsonify(
        [
            {
                "id": person.id,
                "name": person.name,
                "activities": len(person.activities),
                "code": mock.grants.new_lasting_code(person.id),
            }
            for person in mock.world
        ]
    )


def _fields() -> JsonObject:
    """Return the JSON object of the request; an empty body counts as an empty object."""
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


def _find_activity(activity_id: int) -> tuple[int, Activity]:
    world = current_mock().world
    owner = world.owner_of(activity_id)
    activity = None if owner is None else world.find(owner, activity_id)
    if owner is None or activity is None:
        raise not_found("Activity")
    return owner, activity


def _update_text(activity: Activity, key: str, value: Any) -> str:
    """Return a changed value as text, as Strava writes it into ``updates``."""
    return str(activity.private).lower() if REPORTED_FIELDS[key] == "private" else str(value)
