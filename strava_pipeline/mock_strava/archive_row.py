"""A row of the mock's activities.csv: figures as the API tells them, and what only an archive has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from strava_pipeline.mock_strava.archive_activity import ToldActivity
from strava_pipeline.mock_strava.archive_languages import Language
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.tracks import Track

_SAME: Final = {
    "id": "id", "name": "name", "description": "description", "shown_elapsed_s": "elapsed_time",
    "shown_max_heartrate_bpm": "max_heartrate", "shown_relative_effort": "suffer_score", "shown_commute": "commute",
    "max_speed_mps": "max_speed", "average_speed_mps": "average_speed", "elevation_gain_m": "total_elevation_gain",
    "elevation_low_m": "elev_low", "elevation_high_m": "elev_high", "average_cadence_rpm": "average_cadence",
    "max_heartrate_bpm": "max_heartrate", "average_heartrate_bpm": "average_heartrate",
    "average_power_w": "average_watts", "calories_kcal": "calories", "average_temperature_c": "average_temp",
    "relative_effort": "suffer_score", "weighted_average_power_w": "weighted_average_watts",
    "perceived_exertion": "perceived_exertion", "prefer_perceived_exertion": "prefer_perceived_exertion",
    "commute": "commute",
}  # fmt: skip
_FLOATS: Final = {"elapsed_s": "elapsed_time", "moving_s": "moving_time", "distance_m": "distance"}
# Times of the weather are 32-bit floats at Strava, and so in steps.
_WEATHER_STEP_S: Final = 128
_HALF_DAY_S: Final = 21_600
_NOTES: Final = ("Left knee again, see Dr. Roth", 'Told nobody: "easy" was not easy.\nRest on Monday.')
_STEPS_PER_TURN: Final = 2
_AS_IT_IS: Final = frozenset({
    "id", "name", "shown_elapsed_s", "sport_word", "description", "shown_distance", "private_note", "gear_name",
    "filename", "media",
})  # fmt: skip


def row_values(
    activity: ToldActivity, language: Language, filename: str, gear: JsonObject | None, weight_kg: float | None
) -> dict[str, Any]:
    """Return what a row tells, by the names of columns in ``archive_headers.csv``; ``None`` for a blank cell.

    ``filename``: of the recording; ``gear``: the body of bike or shoes.
    """
    body, track = activity.body, activity.track
    values: dict[str, Any] = {name: body.get(key) for name, key in _SAME.items()}
    values |= {name: None if body[key] is None else float(body[key]) for name, key in _FLOATS.items()}
    work_kj = body.get("kilojoules")
    values |= {
        "start": activity.start,
        "sport_word": language.sport(body["sport_type"]),
        "shown_distance": language.shown_distance(body["distance"], body["sport_type"]),
        "filename": filename or None,
        "athlete_weight_kg": weight_kg,
        "total_work_j": None if work_kj is None else round(1_000.0 * work_kj, 1),
        "from_upload": not body["manual"],
        "flagged_code": int(body["flagged"]),
        "media": _media(activity.id, body["total_photo_count"]),
        "private_note": _NOTES[activity.id % 2] if body["private"] else None,
    }
    if gear is not None:
        values |= _gear(gear)
    if track is not None:
        values |= _of_track(track, body) | _weather(activity)
    return values


def cells(values: dict[str, Any], columns: Iterable[str], language: Language) -> list[str]:
    """Return the cells of a row as Strava writes them, in the order of the columns."""
    return [_cell(name, values.get(name), language) for name in columns]


def _cell(name: str, value: Any, language: Language) -> str:
    match name:
        case _ if value is None:
            cell = ""
        case "start":
            cell = language.date(value)
        case "shown_commute":
            cell = "true" if value else "false"
        case "bike_id" | "shoe_id":
            cell = f"{value[1:]}.0"
        case _ if name in _AS_IT_IS:
            cell = str(value)
        case _ if isinstance(value, datetime):
            cell = f"{value.timestamp()}"
        case _:
            cell = repr(float(value))
    return cell


def _gear(gear: JsonObject) -> JsonObject:
    """The columns of a bike, named by its name, or of shoes, named by brand, model and name in one text."""
    if gear["id"].startswith("b"):
        return {"bike_id": gear["id"], "gear_name": gear["name"], "bike_weight_kg": gear.get("weight")}
    named = " ".join(part for part in (gear.get("brand_name"), gear.get("model_name"), gear["name"]) if part)
    return {"shoe_id": gear["id"], "gear_name": named}


def _media(activity_id: int, count: int) -> str:
    return "|".join(media_names(activity_id, count))


def media_names(activity_id: int, count: int) -> list[str]:
    """Return the members of the photos of an activity."""
    return [f"media/{activity_id:08X}-0000-4000-8000-{number:012X}.jpg" for number in range(count)]


def _of_track(track: Track, body: JsonObject) -> JsonObject:
    """What Strava computes from the samples and its API does not tell."""
    values: JsonObject = {
        "average_elapsed_speed_mps": round(body["distance"] / body["elapsed_time"], 3),
        "dirt_distance_m": round(0.1 * body["distance"], 1),
        "carbon_saved_kg": round(body["distance"] / 5_000, 3) if body["commute"] else None,
    }
    if track.altitude is not None:
        climbs = np.diff(track.altitude)
        values["elevation_loss_m"] = round(float(-climbs[climbs < 0].sum()), 1)
    if track.grade is not None:
        values["max_grade_percent"] = float(track.grade.max())
        values["average_grade_percent"] = float(track.grade.mean())
    if track.cadence is not None:
        values["max_cadence_rpm"] = float(track.cadence.max())
    if track.watts is not None:
        values["power_count"] = len(track.watts)
        values["training_load"] = float(round(body["moving_time"] / 60))
        values["intensity_percent"] = 71.0
    if track.cadence is not None and track.watts is None:
        turns = float((track.cadence * track.steps).sum()) / 60
        values["total_steps"] = round(_STEPS_PER_TURN * turns)
        values["grade_adjusted_distance_m"] = round(1.01 * body["distance"], 1)
        values["average_grade_adjusted_speed_mps"] = round(1.01 * body["average_speed"], 3)
    return values


def _weather(activity: ToldActivity) -> JsonObject:
    """The weather at the start of an outing outdoors."""
    if activity.track is None or activity.track.latitude is None:
        return {}
    rng = np.random.default_rng(activity.id)
    began = int(activity.start.timestamp())
    temperature = activity.body["average_temp"]

    def moment(epoch_s: int) -> datetime:
        return datetime.fromtimestamp(epoch_s // _WEATHER_STEP_S * _WEATHER_STEP_S, UTC)

    return {
        "weather_observed_at": moment(began),
        "weather_condition": int(rng.integers(1, 9)),
        "weather_temperature_c": float(temperature),
        "weather_apparent_temperature_c": round(temperature - float(rng.uniform(0, 3)), 2),
        "weather_dewpoint_c": round(temperature - float(rng.uniform(2, 12)), 2),
        "weather_humidity": round(float(rng.uniform(0.3, 1)), 2),
        "weather_pressure_hpa": round(float(rng.normal(1_013, 8)), 1),
        "weather_wind_speed_mps": round(float(rng.uniform(0, 9)), 2),
        "weather_wind_bearing_deg": float(rng.integers(0, 360)),
        "weather_sunrise": moment(began - _HALF_DAY_S),
        "weather_sunset": moment(began + _HALF_DAY_S),
        "weather_precipitation_probability": round(float(rng.uniform(0, 1)), 2),
        "weather_cloud_cover": round(float(rng.uniform(0, 1)), 2),
        "weather_uv_index": float(rng.integers(0, 9)),
    }
