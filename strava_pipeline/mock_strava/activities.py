"""Flask blueprint of activities: the list, and one activity with its streams, laps and zones."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from strava_pipeline.mock_strava.bearer import activity_grant
from strava_pipeline.mock_strava.grants import Grant
from strava_pipeline.mock_strava.refusals import bad_request, no_streams, not_found
from strava_pipeline.mock_strava.shapes import select_streams
from strava_pipeline.mock_strava.state import current_mock
from strava_pipeline.mock_strava.world import Activity

LONGEST_PAGE = 200
DEFAULT_PAGE = 30
DISTANCE = "distance"

activities = Blueprint("activities", __name__)


@activities.get("/athlete/activities")
def list_activities() -> Response:
    """Return a page of summaries between ``after`` and ``before``, both exclusive.

    The newest comes first; with ``after`` and no ``before`` the oldest comes first.
    """
    grant = activity_grant()
    after, before = _number("after"), _number("before")
    page, per_page = _number("page", least=1) or 1, _number("per_page", least=1) or DEFAULT_PAGE
    if per_page > LONGEST_PAGE:
        raise bad_request("Application", "per page", "limit exceeded")
    if after is not None and after > current_mock().clock():
        raise bad_request("Application", "after", "future")
    found = [
        activity
        for activity in current_mock().world.newest_first(grant.athlete_id)
        if _is_visible(activity, grant)
        and (after is None or activity.start > after)
        and (before is None or activity.start < before)
    ]
    if after is not None and before is None:
        found.reverse()
    return jsonify([activity.summary() for activity in found[(page - 1) * per_page : page * per_page]])


@activities.get("/activities/<int:activity_id>")
def detail(activity_id: int) -> Response:
    """Return one activity, with hidden segment efforts only if ``include_all_efforts`` is true."""
    all_efforts = request.args.get("include_all_efforts") == "true"
    return jsonify(_find_visible(activity_id).detail(all_efforts=all_efforts))


@activities.get("/activities/<int:activity_id>/streams")
def streams(activity_id: int) -> Response:
    """Return the streams named in ``keys``, as an object with ``key_by_type=true``, else as a list."""
    found = _find_visible(activity_id).source.streams()
    if not found:
        raise no_streams()
    keys = set(filter(None, request.args.get("keys", DISTANCE).split(",")))
    return jsonify(select_streams(found, keys, by_type=request.args.get("key_by_type") == "true"))


@activities.get("/activities/<int:activity_id>/laps")
def laps(activity_id: int) -> Response:
    """Return the laps of an activity."""
    return jsonify(_find_visible(activity_id).source.laps())


@activities.get("/activities/<int:activity_id>/zones")
def zones(activity_id: int) -> Response:
    """Return the time of an activity in each zone."""
    return jsonify(_find_visible(activity_id).source.zones())


def _find_visible(activity_id: int) -> Activity:
    """Return the caller's activity; ``Refused`` (404) if it is missing, another athlete's, or hidden from the grant."""
    grant = activity_grant()
    activity = current_mock().world.find(grant.athlete_id, activity_id)
    if activity is None or not _is_visible(activity, grant):
        raise not_found("Activity")
    return activity


def _is_visible(activity: Activity, grant: Grant) -> bool:
    return grant.sees_private or not activity.private


def _number(name: str, least: int | None = None) -> int | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise bad_request("Application", name, "invalid") from None
    if least is not None and number < least:
        raise bad_request("Application", name, "invalid")
    return number
