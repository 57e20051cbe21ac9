"""Maps Strava's answers about an athlete, gear, totals and zones to rows of the tables of these names.

Every function is pure, but for a warning in the log. ``RejectedRequest`` names the field that does not fit.
"""

from __future__ import annotations

from typing import Any

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.mapping.fields import (
    Fields,
    JsonObject,
    bigint,
    flag,
    instant,
    integer,
    nested,
    number,
    objects,
    pick,
    text,
)

log = get_logger(__name__)

ATHLETE_FIELDS: Fields = {
    "id": bigint,
    "username": text,
    "firstname": text,
    "lastname": text,
    "bio": text,
    "city": text,
    "state": text,
    "country": text,
    "sex": text,
    "premium": flag,
    "summit": flag,
    "created_at": instant,
    "updated_at": instant,
    "follower_count": integer,
    "friend_count": integer,
    "athlete_type": integer,
    "date_preference": text,
    "measurement_preference": text,
    "ftp": integer,
    "weight": number,
    "profile": text,
    "profile_medium": text,
}
GEAR_FIELDS: Fields = {
    "id": text,
    "name": text,
    "nickname": text,
    "retired": flag,
    "distance": number,
    "converted_distance": number,
    "brand_name": text,
    "model_name": text,
    "frame_type": integer,
    "description": text,
    "weight": number,
}
PERIODS = ("recent", "ytd", "all")
SPORTS = ("ride", "run", "swim")
ZONE_KINDS = ("heart_rate", "power")
_TOTAL_FIELDS: Fields = {
    "count": integer,
    "distance": number,
    "moving_time": integer,
    "elapsed_time": integer,
    "elevation_gain": number,
    "achievement_count": integer,
}
_RECORD_FIELDS: Fields = {"biggest_ride_distance": number, "biggest_climb_elevation_gain": number}
_NO_END = -1


def stats_rows(athlete_id: int, body: JsonObject) -> list[JsonObject]:
    """Return a row for each period and sport with totals; that of all rides also holds the biggest ride and climb."""
    what = f"totals of athlete {athlete_id}"
    records = pick(body, _RECORD_FIELDS, what)
    rows = []
    for period in PERIODS:
        for sport in SPORTS:
            totals = pick(nested(body, f"{period}_{sport}_totals", what), _TOTAL_FIELDS, what)
            if totals["count"] is None:
                continue
            of_rides = (period, sport) == ("all", "ride")
            biggest = records if of_rides else dict.fromkeys(records)
            rows.append({"athlete_id": athlete_id, "period": period, "sport": sport} | totals | biggest)
    return rows


def zone_rows(athlete_id: int, body: JsonObject) -> dict[str, list[JsonObject]]:
    """Return the zones of each kind that the athlete has, lowest first; without an FTP there are none of power."""
    what = f"zones of athlete {athlete_id}"
    return {kind: found for kind in ZONE_KINDS if (found := _zones(nested(body, kind, what), f"{what}: {kind}"))}


def _zones(body: JsonObject, what: str) -> list[JsonObject]:
    custom = pick(body, {"custom_zones": flag}, what)
    rows = []
    for number_of_zone, zone in enumerate(objects(body, "zones", what), start=1):
        ends = pick(zone, {"min": integer, "max": integer}, what)
        if ends["min"] is None:
            raise RejectedRequest(f"{what}: Strava's field min is missing")
        top = None if ends["max"] == _NO_END else ends["max"]
        rows.append({"zone": number_of_zone, "min": ends["min"], "max": top} | custom)
    return rows


def athlete_row(body: JsonObject) -> JsonObject:
    """Return the columns of ``athletes`` that a body fills; a summary, which comes with tokens, lacks some.

    ``RejectedRequest`` without an id.
    """
    if body.get("id") is None:
        raise RejectedRequest("the athlete: Strava's field id is missing")
    present = {name: convert for name, convert in ATHLETE_FIELDS.items() if name in body}
    return pick(body, present, "the athlete")


def gear_rows(athlete_id: int, athlete: JsonObject) -> list[JsonObject]:
    """Return the rows of ``gear`` for the bikes and shoes of a detailed athlete; one that does not map is left out."""
    rows = []
    for kind in ("bikes", "shoes"):
        for item in objects(athlete, kind, "the athlete"):
            try:
                rows.append(gear_row(athlete_id, item))
            except RejectedRequest as error:
                log.warning("one of the %s of athlete %d is left out: %s", kind, athlete_id, error)
    return rows


def gear_row(athlete_id: int, body: JsonObject) -> JsonObject:
    """Return the columns of ``gear`` that a body fills; a summary lacks brand, model and weight."""
    present = {name: convert for name, convert in GEAR_FIELDS.items() if name in body}
    what = f"gear {str(body.get('id'))[:40]}"
    if body.get("id") is None:
        raise RejectedRequest("a bike or pair of shoes: Strava's field id is missing")
    primary: Any = pick(body, {"primary": flag}, what)["primary"]
    return {"athlete_id": athlete_id, "is_primary": primary} | pick(body, present, what)
