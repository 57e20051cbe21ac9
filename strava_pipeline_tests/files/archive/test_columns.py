from __future__ import annotations

import csv
from dataclasses import fields
from typing import Any

from strava_pipeline.files.archive import columns
from strava_pipeline.files.archive.activity_fields import activity_columns, extra_columns
from strava_pipeline.files.archive.columns import BEHIND_FILENAME, FIRST, MEDIA
from strava_pipeline.files.archive.row import ArchiveRow, Weather
from strava_pipeline.strava.mapping.activity import DETAIL_FIELDS, SUMMARY_FIELDS
from strava_pipeline_tests.files.archive.made_archives import DATA, LAYOUTS, NOW

ROW = ArchiveRow(id=1, start=NOW, name="", sport_word="Run", sport="Run")
# Names of the API's fields that hold the same as fields of a row.
RENAMED = {
    "start": "start_date", "sport": "sport_type", "distance_m": "distance", "moving_s": "moving_time",
    "elapsed_s": "elapsed_time", "elevation_gain_m": "total_elevation_gain", "elevation_high_m": "elev_high",
    "elevation_low_m": "elev_low", "average_speed_mps": "average_speed", "max_speed_mps": "max_speed",
    "average_cadence_rpm": "average_cadence", "average_temperature_c": "average_temp",
    "average_power_w": "average_watts", "weighted_average_power_w": "weighted_average_watts",
    "max_power_w": "max_watts", "total_work_j": "kilojoules", "average_heartrate_bpm": "average_heartrate",
    "max_heartrate_bpm": "max_heartrate", "relative_effort": "suffer_score", "calories_kcal": "calories",
    "filename": "upload_id", "media": "total_photo_count",
}  # fmt: skip
# What a row holds about its own reading.
ABOUT_READING = {
    "sport_word", "shown_elapsed_s", "shown_distance", "shown_max_heartrate_bpm", "shown_relative_effort",
    "shown_commute", "export_failed", "has_stray_filename", "has_heartrate_columns", "unknown",
}  # fmt: skip


def test_every_column_has_a_field_of_its_own() -> None:
    weather = {f"weather_{field.name}" for field in fields(Weather)}
    homes = {field.name for field in fields(ArchiveRow)} | weather
    for layout in LAYOUTS.values():
        named = [column.name for column in layout if not column.name.startswith("new_")]
        assert set(named) <= homes
        assert len(set(named)) == len(named)
    assert weather <= {column.name for column in BEHIND_FILENAME}


def test_the_columns_are_those_that_strava_writes() -> None:
    with (DATA / "csv" / "en99.csv").open(newline="") as stream:
        assert next(csv.reader(stream)) == [column.header for column in LAYOUTS["99"]]
    assert len((*FIRST, *columns.LATE, *BEHIND_FILENAME, MEDIA)) + 4 == 103


def test_what_fills_the_tables_has_the_names_of_the_api() -> None:
    assert set(activity_columns(ROW)) <= SUMMARY_FIELDS.keys() | DETAIL_FIELDS.keys()


def test_every_field_of_a_row_reaches_the_tables() -> None:
    stored = set(activity_columns(ROW))
    values: dict[str, Any] = {field.name: getattr(ROW, field.name) or 1 for field in fields(ROW)}
    filled = ArchiveRow(**values | {"weather": Weather(ozone_du=1)})
    extra = set(extra_columns(filled))
    for field in fields(ArchiveRow):
        if field.name not in ABOUT_READING | {"weather"}:
            assert RENAMED.get(field.name, field.name) in stored | extra
    assert "weather_ozone_du" in extra
