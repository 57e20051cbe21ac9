"""Flask blueprint of the athlete: profile, stats, zones and gear."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from strava_pipeline.mock_strava.athletes import zone_bodies
from strava_pipeline.mock_strava.bearer import bearer_grant
from strava_pipeline.mock_strava.refusals import not_found, scope_missing, unauthorized
from strava_pipeline.mock_strava.shapes import JsonObject, summary_athlete
from strava_pipeline.mock_strava.state import current_mock
from strava_pipeline.mock_strava.totals import stats_body
from strava_pipeline.mock_strava.world import Person

FULL_PROFILE = "profile:read_all"

athlete = Blueprint("athlete", __name__)


@athlete.get("/athlete")
def get_athlete() -> Response:
    """Return the athlete in detail, or as a summary without the scope ``profile:read_all``."""
    grant = bearer_grant()
    body = current_mock().world.people[grant.athlete_id].athlete
    return jsonify(body if FULL_PROFILE in grant.scopes else summary_athlete(body))


@athlete.get("/athletes/<int:athlete_id>/stats")
def stats(athlete_id: int) -> Response:
    """Return the totals of the athlete, who must be the caller."""
    mock, grant = current_mock(), bearer_grant()
    if athlete_id != grant.athlete_id:
        raise unauthorized("Athlete", "id", "invalid") if athlete_id in mock.world.people else not_found("Athlete")
    recorded = mock.world.people[athlete_id].stats
    return jsonify(stats_body(mock.world.newest_first(athlete_id), mock.clock()) if recorded is None else recorded)


@athlete.get("/athlete/zones")
def zones() -> Response:
    """Return the athlete's zones of heart rate and power."""
    grant = bearer_grant()
    if FULL_PROFILE not in grant.scopes:
        raise scope_missing("profile:read_permission")
    person = current_mock().world.people[grant.athlete_id]
    return jsonify(zone_bodies(person.athlete.get("ftp")) if person.zones is None else person.zones)


@athlete.get("/gear/<gear_id>")
def gear(gear_id: str) -> Response:
    """Return a bike or a pair of shoes."""
    person = current_mock().world.people[bearer_grant().athlete_id]
    body = person.gear.get(gear_id) or _find_in_athlete(person, gear_id)
    if body is None:
        raise not_found("Gear")
    return jsonify(body)


def _find_in_athlete(person: Person, gear_id: str) -> JsonObject | None:
    """Return an item from the athlete's body, for gear that was not recorded by itself."""
    items = [*(person.athlete.get("bikes") or []), *(person.athlete.get("shoes") or [])]
    return next((item for item in items if item["id"] == gear_id), None)
