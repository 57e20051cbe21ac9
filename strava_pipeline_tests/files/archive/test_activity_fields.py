from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strava_pipeline.files.archive.activity_fields import activity_columns, extra_columns
from strava_pipeline.files.archive.row import ArchiveRow, Weather

ROW = ArchiveRow(
    id=123,
    start=datetime(2014, 10, 5, 16, 15, 21, tzinfo=UTC),
    name="Morning Lap",
    sport_word="Trail Run",
    sport="TrailRun",
    filename="activities/456.fit.gz",
    has_heartrate_columns=True,
    elapsed_s=1428.0,
    moving_s=1411.0,
    distance_m=3322.949951171875,
    elevation_gain_m=61.878849029541016,
    max_speed_mps=3.2149860858917236,
    average_heartrate_bpm=150.26,
    max_heartrate_bpm=181.0,
    total_work_j=484_126.0,
    weighted_average_power_w=201.4,
    relative_effort=40.0,
    flagged_code=0,
    bike_id="b5858926",
    private_note="mine",
    total_steps=3344,
    from_upload=True,
    media=("media/a.jpg", "media/b.mp4"),
    weather=Weather(temperature_c=18.5, observed_at=datetime(2014, 10, 5, 16, tzinfo=UTC)),
)


def test_figures_have_the_units_and_decimals_of_the_api() -> None:
    found = activity_columns(ROW)
    assert {name: value for name, value in found.items() if value is not None} == {
        "id": 123,
        "name": "Morning Lap",
        "type": "Run",
        "sport_type": "TrailRun",
        "start_date": ROW.start,
        "distance": pytest.approx(3322.95, abs=0.051),
        "moving_time": 1411,
        "elapsed_time": 1428,
        "total_elevation_gain": 61.9,
        "average_speed": 2.355,
        "max_speed": 3.215,
        "kilojoules": 484.1,
        "weighted_average_watts": 201.0,
        "has_heartrate": True,
        "average_heartrate": 150.3,
        "max_heartrate": 181.0,
        "suffer_score": 40.0,
        "manual": False,
        "flagged": False,
        "gear_id": "b5858926",
        "upload_id": 456,
        "total_photo_count": 2,
    }
    assert type(found["moving_time"]) is int


def test_what_the_api_lacks_is_told_with_units() -> None:
    assert extra_columns(ROW) == {
        "private_note": "mine",
        "bike_id": "b5858926",
        "flagged_code": 0,
        "total_steps": 3344,
        "from_upload": True,
        "weather_temperature_c": 18.5,
        "weather_observed_at": datetime(2014, 10, 5, 16, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        (replace(ROW, average_speed_mps=2.5), "average_speed", 2.5),
        (replace(ROW, moving_s=0.0), "average_speed", None),
        (replace(ROW, moving_s=None), "moving_time", None),
        (replace(ROW, average_heartrate_bpm=None), "has_heartrate", True),
        (replace(ROW, average_heartrate_bpm=None, max_heartrate_bpm=None), "has_heartrate", False),
        (
            replace(ROW, average_heartrate_bpm=None, max_heartrate_bpm=None, has_heartrate_columns=False),
            "has_heartrate",
            None,
        ),
        (replace(ROW, flagged_code=1), "flagged", True),
        (replace(ROW, flagged_code=2), "flagged", None),
        (replace(ROW, bike_id=None, shoe_id="g7"), "gear_id", "g7"),
        (replace(ROW, filename="activities/123.gpx"), "upload_id", None),
        (replace(ROW, filename="activities/3867812864.bin.gz"), "upload_id", 3867812864),
        (replace(ROW, filename=None), "upload_id", None),
        (replace(ROW, filename=None, from_upload=False), "manual", True),
        (replace(ROW, filename=None, from_upload=None), "manual", None),
        (replace(ROW, filename=None, from_upload=False, export_failed=True), "manual", False),
        (replace(ROW, sport=None), "sport_type", None),
        (replace(ROW, sport=None), "type", None),
        (replace(ROW, media=None), "total_photo_count", None),
        (replace(ROW, media=()), "total_photo_count", 0),
        (ROW, "visibility", None),
    ],
)
def test_a_column_tells_no_more_than_the_archive(row: ArchiveRow, name: str, value: object) -> None:
    assert activity_columns(row)[name] == value
