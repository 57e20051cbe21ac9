"""Fields that only the detailed body of a generated activity has: fine map, gear, photos, calories, laps and so on."""

from __future__ import annotations

import numpy as np

from strava_pipeline.mock_strava import figures, parts
from strava_pipeline.mock_strava.athletes import Profile, gear_bodies, gear_summary, zone_bodies
from strava_pipeline.mock_strava.plans import Plan
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.summaries import encode_route, gear_of, photo_count
from strava_pipeline.mock_strava.tracks import Flags, Integers, Track

VISIBLE = ("heart_rate", "pace", "power", "speed", "calories")
DESCRIPTIONS = (None, "", 'Headwind both ways, "of course".\nSecond line. 🙂', "With the group.")
FINE_STEP_S = 5


def detail_fields(profile: Profile, plan: Plan, track: Track | None) -> JsonObject:
    """Return the fields that the detailed body has in addition to the summary, without the ``map``."""
    gear = gear_bodies(profile).get(gear_of(profile, plan) or "")
    return {
        "resource_state": 3,
        **described_fields(profile, plan, track),
        **_parts(profile, plan, track),
        **({"gear": gear_summary(gear)} if gear else {}),
        "photos": _photos(plan),
        "stats_visibility": [{"type": kind, "visibility": "everyone"} for kind in VISIBLE],
        "hide_from_home": False,
        **({} if track is None else {"device_name": "Garmin Edge 540" if track.watts is not None else "Coros Pace 3"}),
        "embed_token": f"{plan.activity_id:040x}",
        "available_zones": [zone["type"] for zone in zone_distribution(profile, track)],
    }


def described_fields(profile: Profile, plan: Plan, track: Track | None) -> JsonObject:
    """Return those fields of the detailed body that an archive has as well."""
    return {
        "description": DESCRIPTIONS[plan.activity_id % len(DESCRIPTIONS)],
        "calories": 400.0 if track is None else figures.calories(track, profile.weight_kg),
        "perceived_exertion": None,
        "prefer_perceived_exertion": None,
    }


def fine_map(plan: Plan, track: Track | None, summary_polyline: str) -> JsonObject:
    """Return the ``map`` of a detailed body."""
    points = 0 if track is None else len(track.time) // FINE_STEP_S + 2
    return {
        "id": f"a{plan.activity_id}",
        "polyline": encode_route(track, points),
        "resource_state": 3,
        "summary_polyline": summary_polyline,
    }


def zone_distribution(profile: Profile, track: Track | None) -> list[JsonObject]:
    """Return the body of ``GET /activities/{id}/zones``: seconds in each zone of heart rate and power."""
    if track is None:
        return []
    bands = zone_bodies(profile.ftp_w)
    kinds = (("heartrate", track.heartrate, bands["heart_rate"]), ("power", track.watts, bands["power"]))
    return [
        {
            "distribution_buckets": [
                band | {"time": int(track.steps[_within(values, band)].sum())} for band in known["zones"]
            ],
            "type": kind,
            "resource_state": 3,
            "sensor_based": True,
            "custom_zones": False,
        }
        for kind, values, known in kinds
        if values is not None
    ]


def _within(values: Integers, band: JsonObject) -> Flags:
    top = band["max"] if band["max"] >= 0 else np.inf
    inside: Flags = (values >= band["min"]) & (values < top)
    return inside


def _parts(profile: Profile, plan: Plan, track: Track | None) -> JsonObject:
    if track is None:
        return {"segment_efforts": [], "splits_metric": [], "splits_standard": [], "laps": []}
    outing = parts.Outing(profile, plan, track)
    found: JsonObject = {
        "segment_efforts": parts.segment_efforts(outing) if track.positions is not None else [],
        "splits_metric": parts.splits(outing, parts.KILOMETRE_M),
        "splits_standard": parts.splits(outing, parts.MILE_M),
        "laps": parts.laps(outing),
    }
    return found | ({"best_efforts": parts.best_efforts(outing)} if plan.on_foot else {})


def _photos(plan: Plan) -> JsonObject:
    count = photo_count(plan)
    if not count:
        return {"primary": None, "count": 0}
    address = f"https://pictures.example.invalid/photos/{plan.activity_id}"
    return {
        "primary": {
            "unique_id": f"{plan.activity_id:08x}-0000-4000-8000-000000000000",
            "urls": {"600": f"{address}-540x768.jpg", "100": f"{address}-90x128.jpg"},
            "source": 1,
            "media_type": 1,
        },
        "use_primary_photo": True,
        "count": count,
    }
