"""Forms of Strava's answers: summaries made from detailed bodies, and streams as object or list."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

JsonObject = dict[str, Any]
DETAIL_ONLY = frozenset({
    "description", "calories", "perceived_exertion", "prefer_perceived_exertion", "segment_efforts",
    "splits_metric", "splits_standard", "laps", "best_efforts", "gear", "photos", "stats_visibility",
    "hide_from_home", "device_name", "embed_token", "similar_activities", "available_zones",
})  # fmt: skip
SUMMARY_ATHLETE = (
    "id", "username", "resource_state", "firstname", "lastname", "city", "state", "country", "sex", "premium",
    "summit", "created_at", "updated_at", "badge_type_id", "profile_medium", "profile", "friend", "follower",
)  # fmt: skip
DETAILED = 3
_COARSE_TYPES = {
    "TrailRun": "Run", "GravelRide": "Ride", "MountainBikeRide": "Ride", "EMountainBikeRide": "EBikeRide",
}  # fmt: skip


def type_of(sport_type: str) -> str:
    """Return the older, coarser name of a sport."""
    return _COARSE_TYPES.get(sport_type, sport_type)


def summary_of(activity: JsonObject) -> JsonObject:
    """Return an activity's summary, as in the list of activities."""
    if activity.get("resource_state") != DETAILED:
        return activity
    summary = {key: value for key, value in activity.items() if key not in DETAIL_ONLY}
    summary["resource_state"] = 2
    if isinstance(activity.get("map"), dict):
        coarse = {key: value for key, value in activity["map"].items() if key != "polyline"}
        summary["map"] = coarse | {"resource_state": 2}
    return summary


def summary_athlete(athlete: JsonObject) -> JsonObject:
    """Return an athlete's summary, as in answers with tokens, and without the scope ``profile:read_all``."""
    return {key: athlete[key] for key in SUMMARY_ATHLETE if key in athlete} | {"resource_state": 2}


def select_streams(recorded: Any, keys: Collection[str], *, by_type: bool) -> Any:
    """Return the streams in ``keys``, as an object by type or as a list; distance is always included, as at Strava."""
    entries = (
        {name: {"type": name} | stream for name, stream in recorded.items()}
        if isinstance(recorded, dict)
        else {stream["type"]: stream for stream in recorded}
    )
    wanted = {name: stream for name, stream in entries.items() if name in keys or name == "distance"}
    if not by_type:
        return list(wanted.values())
    return {name: {key: value for key, value in stream.items() if key != "type"} for name, stream in wanted.items()}


def stream_set(series: dict[str, list[Any]]) -> JsonObject:
    """Return Strava's stream set of these samples, by stream type."""
    return {
        name: {"data": samples, "series_type": "distance", "original_size": len(samples), "resolution": "high"}
        for name, samples in series.items()
    }
