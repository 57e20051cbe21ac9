"""What a row of the archive fills of table ``activities``, under Strava's own names, and what it tells beyond them."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, Final

from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.archive.sports import type_of

_UPLOAD: Final = re.compile(r"activities/(\d{1,18})\.[\w.]*gz", re.ASCII)
_JOULES: Final = 1_000.0
# Strava's codes of `Flagged` that say yes or no; 2 occurs as well, and nobody says what it means.
_FLAGGED: Final = {0: False, 1: True}
_EXTRA: Final = (
    "private_note", "athlete_weight_kg", "bike_weight_kg", "elevation_loss_m", "max_grade_percent",
    "average_grade_percent", "average_positive_grade_percent", "average_negative_grade_percent", "max_cadence_rpm",
    "max_temperature_c", "lift_runs", "uphill_time_s", "downhill_time_s", "other_time_s", "type_word", "start_time",
    "power_count", "perceived_relative_effort", "total_weight_lifted_kg", "from_upload", "grade_adjusted_distance_m",
    "bike_id", "shoe_id", "gear_name", "jump_count", "total_grit", "average_flow", "flagged_code",
    "average_elapsed_speed_mps", "dirt_distance_m", "newly_explored_distance_m", "newly_explored_dirt_distance_m",
    "activity_count", "total_steps", "carbon_saved_kg", "pool_length_m", "training_load", "intensity_percent",
    "average_grade_adjusted_speed_mps", "timer_time_s", "total_cycles", "recovery", "with_pet", "competition",
    "long_run", "for_a_cause", "with_kid", "downhill_distance_m", "total_sets", "total_reps",
)  # fmt: skip


def activity_columns(row: ArchiveRow) -> dict[str, Any]:
    """Return columns of ``activities`` in Strava's units and decimals; ``None`` where the archive does not tell.

    An archive tells no visibility: it is ``None``, which callers take for ``only_me`` until the API tells. Sports are
    ``None`` where the word is unknown: the recording may know better.
    """
    return {
        "id": row.id,
        "name": row.name,
        "type": None if row.sport is None else type_of(row.sport),
        "sport_type": row.sport,
        "start_date": row.start,
        "description": row.description,
        "distance": _rounded(row.distance_m, 1),
        "moving_time": _whole(row.moving_s),
        "elapsed_time": _whole(row.elapsed_s),
        "total_elevation_gain": _rounded(row.elevation_gain_m, 1),
        "elev_high": _rounded(row.elevation_high_m, 1),
        "elev_low": _rounded(row.elevation_low_m, 1),
        "average_speed": _average_speed(row),
        "max_speed": _rounded(row.max_speed_mps, 3),
        "average_cadence": _rounded(row.average_cadence_rpm, 1),
        "average_temp": _rounded(row.average_temperature_c, 0),
        "average_watts": _rounded(row.average_power_w, 1),
        "weighted_average_watts": _rounded(row.weighted_average_power_w, 0),
        "max_watts": _rounded(row.max_power_w, 0),
        "kilojoules": None if row.total_work_j is None else round(row.total_work_j / _JOULES, 1),
        "has_heartrate": _has_heartrate(row),
        "average_heartrate": _rounded(row.average_heartrate_bpm, 1),
        "max_heartrate": _rounded(row.max_heartrate_bpm, 0),
        "suffer_score": _rounded(row.relative_effort, 0),
        "calories": _rounded(row.calories_kcal, 1),
        "perceived_exertion": row.perceived_exertion,
        "prefer_perceived_exertion": row.prefer_perceived_exertion,
        "commute": row.commute,
        "manual": _is_manual(row),
        "visibility": None,
        "flagged": None if row.flagged_code is None else _FLAGGED.get(row.flagged_code),
        "gear_id": row.gear_id,
        "upload_id": _upload_id(row),
        "total_photo_count": None if row.media is None else len(row.media),
    }


def extra_columns(row: ArchiveRow) -> dict[str, Any]:
    """Return what the archive tells and Strava's API does not, without what is blank; weather as ``weather_...``.

    Units end the names. ``private_note`` is the athlete's alone: analysts must not see it.
    """
    told = {name: getattr(row, name) for name in _EXTRA}
    if row.weather is not None:
        told |= {f"weather_{name}": value for name, value in asdict(row.weather).items()}
    return {name: value for name, value in told.items() if value is not None}


def _rounded(value: float | None, digits: int) -> float | None:
    """A figure with the API's decimals: older archives show the noise of 32 bits."""
    return None if value is None else round(value, digits)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _average_speed(row: ArchiveRow) -> float | None:
    if row.average_speed_mps is not None:
        return round(row.average_speed_mps, 3)
    return round(row.distance_m / row.moving_s, 3) if row.distance_m is not None and row.moving_s else None


def _has_heartrate(row: ArchiveRow) -> bool | None:
    if row.average_heartrate_bpm is not None or row.max_heartrate_bpm is not None:
        return True
    return False if row.has_heartrate_columns else None


def _is_manual(row: ArchiveRow) -> bool | None:
    """Whether it was typed in: no file, and none that was uploaded. Old tables do not tell the latter."""
    if row.filename is not None or row.export_failed or row.has_stray_filename:
        return False
    return None if row.from_upload is None else not row.from_upload


def _upload_id(row: ArchiveRow) -> int | None:
    """The number of a gzipped recording, unless it is the activity's; other recordings have the activity's id."""
    found = _UPLOAD.fullmatch(row.filename or "")
    return int(found[1]) if found and int(found[1]) != row.id else None
