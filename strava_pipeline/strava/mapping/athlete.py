"""Maps Strava's answers about an athlete's totals and zones to rows of ``athlete_stats`` and ``athlete_zones``.

Every function is pure. ``RejectedRequest`` names the field that does not fit.
"""

from __future__ import annotations

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.mapping.fields import Fields, JsonObject, flag, integer, nested, number, objects, pick

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
