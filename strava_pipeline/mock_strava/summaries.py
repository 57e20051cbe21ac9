"""Summaries of generated activities, with figures computed from their samples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polyline

from strava_pipeline.mock_strava import figures
from strava_pipeline.mock_strava.athletes import Profile
from strava_pipeline.mock_strava.plans import Plan, route_for, speed_on_the_flat
from strava_pipeline.mock_strava.routes import SEED
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.tracks import Track

COARSE_POINTS = 120
_ISO = "%Y-%m-%dT%H:%M:%SZ"


def start_fields(start: int, profile: Profile) -> JsonObject:
    """Return Strava's fields for a start time: local time with Strava's wrong ``Z``, time zone with standard offset."""
    local = datetime.fromtimestamp(start, profile.zone)
    offset = local.utcoffset() or timedelta()
    standard = offset - (local.dst() or timedelta())
    hours, minutes = divmod(abs(int(standard.total_seconds())) // 60, 60)
    sign = "-" if standard < timedelta() else "+"
    return {
        "start_date": datetime.fromtimestamp(start, UTC).strftime(_ISO),
        "start_date_local": local.strftime(_ISO),
        "timezone": f"(GMT{sign}{hours:02d}:{minutes:02d}) {profile.zone.key}",
        "utc_offset": offset.total_seconds(),
    }


def summary_body(profile: Profile, plan: Plan, track: Track | None) -> JsonObject:
    """Return the summary of an activity, with keys in Strava's order."""
    rng = np.random.default_rng([SEED, plan.activity_id, 1])
    totals = _manual_totals(profile, plan) if track is None else _totals(track)
    workout = {} if plan.in_water else {"workout_type": None}
    return {
        "resource_state": 2,
        "athlete": {"id": profile.athlete_id, "resource_state": 1},
        "name": plan.name,
        **totals,
        "type": plan.type,
        "sport_type": plan.sport_type,
        **workout,
        "id": plan.activity_id,
        **start_fields(plan.start, profile),
        "location_city": None,
        "location_state": None,
        "location_country": None,
        "achievement_count": int(rng.integers(0, 9)),
        "kudos_count": int(rng.integers(0, 40)),
        "comment_count": int(rng.integers(0, 4)),
        "athlete_count": int(rng.integers(1, 4)),
        "photo_count": 0,
        "map": {"id": f"a{plan.activity_id}", "summary_polyline": encode_coarse_route(track), "resource_state": 2},
        "trainer": plan.trainer or plan.in_water,
        "commute": False,
        "manual": plan.manual,
        "private": plan.private,
        "visibility": "only_me" if plan.private else "everyone",
        "flagged": False,
        "gear_id": gear_of(profile, plan),
        "start_latlng": _point(track, 0),
        "end_latlng": _point(track, -1),
        "average_speed": figures.speed_over(totals["distance"], totals["moving_time"]),
        "max_speed": 0.0 if track is None else float(track.velocity.max()),
        **_effort_fields(plan, track, totals["moving_time"]),
        **_upload(plan),
        "from_accepted_tag": False,
        "pr_count": int(rng.integers(0, 3)),
        "total_photo_count": photo_count(plan),
        "has_kudoed": False,
        **_suffer_score(track, totals["moving_time"]),
    }


def photo_count(plan: Plan) -> int:
    """Return how many photos an outing has."""
    return plan.activity_id % 7 % 3


def gear_of(profile: Profile, plan: Plan) -> str | None:
    if plan.in_water:
        return None
    return profile.shoe if plan.on_foot else profile.bike


def encode_route(track: Track | None, points: int) -> str:
    """Return the route as an encoded polyline of about ``points`` points; empty without positions."""
    positions = None if track is None else track.positions
    if positions is None:
        return ""
    chosen = np.unique(np.linspace(0, len(positions) - 1, points).astype(int))
    return str(polyline.encode(positions[chosen].tolist()))


def encode_coarse_route(track: Track | None) -> str:
    """Return the polyline of a summary."""
    return encode_route(track, COARSE_POINTS)


def _manual_totals(profile: Profile, plan: Plan) -> JsonObject:
    """Return round figures, as an athlete enters them manually."""
    kilometres = 2 if plan.in_water else round(route_for(profile, plan).length_m / 1000)
    seconds = round(kilometres * 1000 / speed_on_the_flat(profile, plan) / 60) * 60
    return {
        "distance": kilometres * 1000.0,
        "moving_time": seconds,
        "elapsed_time": seconds,
        "total_elevation_gain": 0,
    }


def _totals(track: Track) -> JsonObject:
    last = len(track.time) - 1
    return {
        "distance": figures.distance_between(track, 0, last),
        "moving_time": figures.moving_between(track, 0, last),
        "elapsed_time": figures.elapsed_between(track, 0, last),
        "total_elevation_gain": figures.gain_between(track, 0, last) if track.altitude is not None else 0,
    }


def _effort_fields(plan: Plan, track: Track | None, moving_s: int) -> JsonObject:
    means = {} if track is None else figures.means_between(track, 0, len(track.time) - 1)
    shown: JsonObject = {}
    if "average_cadence" in means:
        shown["average_cadence"] = means["average_cadence"]
    if track is not None and track.temp is not None:
        shown["average_temp"] = round(float(track.temp.mean()))
    if track is not None and track.watts is not None:
        shown |= {
            "average_watts": means["average_watts"],
            "max_watts": int(track.watts.max()),
            "weighted_average_watts": figures.weighted_watts(track.watts),
            "device_watts": True,
            "kilojoules": round(means["average_watts"] * moving_s / 1000, 1),
        }
    shown["has_heartrate"] = "average_heartrate" in means
    if shown["has_heartrate"]:
        shown |= {"average_heartrate": means["average_heartrate"], "max_heartrate": means["max_heartrate"]}
    shown["heartrate_opt_out"] = plan.hides_heartrate
    shown["display_hide_heartrate_option"] = shown["has_heartrate"] or plan.hides_heartrate
    if track is not None and track.altitude is not None:
        shown |= {"elev_high": float(track.altitude.max()), "elev_low": float(track.altitude.min())}
    return shown


def _upload(plan: Plan) -> JsonObject:
    if plan.manual:
        return {"upload_id": None, "external_id": None}
    upload = plan.activity_id + 1_000_000_007
    return {"upload_id": upload, "upload_id_str": str(upload), "external_id": f"garmin_ping_{upload * 3}"}


def _suffer_score(track: Track | None, moving_s: int) -> JsonObject:
    if track is None or track.heartrate is None:
        return {}
    return {"suffer_score": figures.suffer_score(float(track.heartrate.mean()), moving_s)}


def _point(track: Track | None, place: int) -> list[Any]:
    positions = None if track is None else track.positions
    return [] if positions is None else positions[place].tolist()
