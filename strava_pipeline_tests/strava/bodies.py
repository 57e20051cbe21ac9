"""Answers in the shapes Strava has used over the years; people, places and numbers are made up."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


def summary_2025(**changes: Any) -> JsonObject:
    """A listed run as of 2025: ``sport_type``, ``upload_id_str``, ``visibility``."""
    body: JsonObject = {
        "resource_state": 2,
        "athlete": {"id": 4_000_000_101, "resource_state": 1},
        "name": 'Évening loop, "fast" 🏃\nsecond line',
        "distance": 10012.4,
        "moving_time": 3001,
        "elapsed_time": 3100,
        "total_elevation_gain": 87,
        "type": "Run",
        "sport_type": "TrailRun",
        "workout_type": 0,
        "id": 16_123_456_789,
        "start_date": "2025-06-30T22:30:00Z",
        "start_date_local": "2025-07-01T00:30:00Z",
        "timezone": "(GMT+01:00) Europe/Paris",
        "utc_offset": 7200.0,
        "location_city": None,
        "location_state": None,
        "location_country": None,
        "achievement_count": 2,
        "kudos_count": 14,
        "comment_count": 1,
        "athlete_count": 1,
        "photo_count": 0,
        "map": {"id": "a16123456789", "summary_polyline": "_p~iF~ps|U_ulLnnqC", "resource_state": 2},
        "trainer": False,
        "commute": False,
        "manual": False,
        "private": False,
        "visibility": "everyone",
        "flagged": False,
        "gear_id": "g7001",
        "start_latlng": [48.1, -3],
        "end_latlng": [48.2, -3.1],
        "average_speed": 3.336,
        "max_speed": 5.2,
        "average_cadence": 84.5,
        "has_heartrate": True,
        "average_heartrate": 151.2,
        "max_heartrate": 178.0,
        "heartrate_opt_out": False,
        "display_hide_heartrate_option": True,
        "elev_high": 120.4,
        "elev_low": 33.0,
        "upload_id": 17_987_654_321,
        "upload_id_str": "17987654321",
        "external_id": "watch_ping_1.fit",
        "from_accepted_tag": False,
        "pr_count": 1,
        "total_photo_count": 0,
        "has_kudoed": False,
        "suffer_score": 51.0,
    }
    return body | changes


def indoor_swim_2025(**changes: Any) -> JsonObject:
    """A listed swim without GPS: ``[]`` as position, ``""`` as route."""
    body = summary_2025(
        type="Swim",
        sport_type="Swim",
        name="",
        trainer=True,
        start_latlng=[],
        end_latlng=[],
        map={"id": "a16123456789", "summary_polyline": "", "resource_state": 2},
        total_elevation_gain=0,
        gear_id=None,
    )
    return body | changes


def manual_2025(**changes: Any) -> JsonObject:
    """A listed activity entered by hand: no upload, no ``upload_id_str``, position null."""
    body = summary_2025(manual=True, upload_id=None, external_id=None, start_latlng=None, end_latlng=None)
    del body["upload_id_str"]
    return body | changes


def detail_2019(**changes: Any) -> JsonObject:
    """A ride in detail as of 2019: no ``sport_type``, effort ids beyond 2^53."""
    body: JsonObject = {
        "resource_state": 3,
        "athlete": {"id": 4_000_000_102, "resource_state": 1},
        "name": "Ride to the lake",
        "distance": 50235,
        "moving_time": 6474,
        "elapsed_time": 6400,
        "total_elevation_gain": 355.9,
        "type": "Ride",
        "workout_type": None,
        "id": 2_531_000_001,
        "external_id": "box.tcx",
        "upload_id": 2_693_000_001,
        "upload_id_str": "2693000001",
        "start_date": "2019-09-29T13:58:25Z",
        "start_date_local": "2019-09-29T15:58:25Z",
        "timezone": "(GMT+01:00) Europe/Paris",
        "utc_offset": 7200.0,
        "start_latlng": [43.68, 7.01],
        "end_latlng": [43.69, 7.02],
        "map": {"id": "a2531000001", "polyline": "abc", "summary_polyline": "ab", "resource_state": 3},
        "average_watts": 147.3,
        "weighted_average_watts": 160,
        "max_watts": 700,
        "kilojoules": 953.6,
        "device_watts": False,
        "description": "Dry, 21°C",
        "calories": 1063.3,
        "perceived_exertion": None,
        "prefer_perceived_exertion": None,
        "hide_from_home": False,
        "device_name": "Box 500",
        "embed_token": "fake",
        "gear": {
            "id": "b42",
            "primary": True,
            "name": "Old bike",
            "nickname": "",
            "resource_state": 2,
            "retired": False,
            "distance": 966309,
            "converted_distance": 966.3,
        },
        "laps": [
            {
                "id": 45_591_000_001,
                "name": "Lap 1",
                "elapsed_time": 6594,
                "moving_time": 6474,
                "start_date": "2019-09-29T13:58:25Z",
                "start_date_local": "2019-09-29T15:58:25Z",
                "distance": 50244.5,
                "start_index": 0,
                "end_index": 1817,
                "total_elevation_gain": 399.3,
                "average_speed": 7.76,
                "max_speed": 18.6,
                "average_cadence": 75.6,
                "device_watts": False,
                "average_watts": 147.3,
                "average_heartrate": 164.8,
                "max_heartrate": 186.0,
                "lap_index": 1,
                "split": 1,
            }
        ],
        "splits_metric": [_split(1, 1000.2), _split(2, 999.8)],
        "splits_standard": [_split(1, 1609.9)],
        "best_efforts": [
            {
                "id": 73_463_000_001,
                "name": "400m",
                "elapsed_time": 80,
                "moving_time": 81,
                "distance": 400,
                "start_date": "2019-09-29T14:00:00Z",
                "start_date_local": "2019-09-29T16:00:00Z",
                "start_index": 3,
                "end_index": 50,
                "pr_rank": None,
            }
        ],
        "segment_efforts": [
            {
                "id": 7_306_287_690_309_388_191,
                "name": "Segment, the steep one",
                "elapsed_time": 293,
                "moving_time": 293,
                "start_date": "2019-09-29T13:59:07Z",
                "start_date_local": "2019-09-29T15:59:07Z",
                "distance": 2279.7,
                "start_index": 19,
                "end_index": 94,
                "average_watts": 146.1,
                "device_watts": False,
                "segment": {"id": 38_889_473, "name": "Segment, the steep one", "activity_type": "Ride"},
                "pr_rank": 2,
                "kom_rank": None,
                "achievements": [{"type_id": 3, "type": "pr", "rank": 2}],
                "hidden": False,
            }
        ],
        "photos": {"primary": None, "count": 0},
        "available_zones": [],
    }
    return body | changes


def detail_2013(**changes: Any) -> JsonObject:
    """A hike entered by hand in 2013: no ``sport_type``, ``utc_offset``, ``visibility``; much is null."""
    body: JsonObject = {
        "achievement_count": 0,
        "athlete": {"id": 4711, "resource_state": 1},
        "average_speed": 0.5821912144702842,
        "calories": 2084.438266172827,
        "commute": False,
        "distance": 22530.8,
        "elapsed_time": 38700,
        "start_latlng": None,
        "end_latlng": None,
        "external_id": None,
        "flagged": False,
        "gear_id": "g50",
        "id": 43_000_001,
        "location_city": "Springville",
        "location_state": "Far State",
        "manual": True,
        "map": {"id": "a43000001", "polyline": None, "resource_state": 3, "summary_polyline": None},
        "max_speed": 0.0,
        "moving_time": 38700,
        "name": "Over the hills",
        "private": False,
        "resource_state": 3,
        "segment_efforts": [],
        "start_date": "2013-11-17T16:00:00Z",
        "start_date_local": "2013-11-17T08:00:00Z",
        "timezone": "(GMT-08:00) America/Los_Angeles",
        "total_elevation_gain": 0,
        "trainer": False,
        "type": "Hike",
        "upload_id": None,
    }
    return body | changes


def athlete_2025(**changes: Any) -> JsonObject:
    """The athlete with ``profile:read_all``."""
    body: JsonObject = {
        "id": 4_000_000_101,
        "username": None,
        "resource_state": 3,
        "firstname": "Ada",
        "lastname": "Example",
        "bio": "",
        "city": "Springville",
        "state": "Far State",
        "country": None,
        "sex": "F",
        "premium": True,
        "summit": True,
        "created_at": "2012-01-02T03:04:05Z",
        "updated_at": "2025-09-27T12:57:32Z",
        "weight": 61,
        "ftp": None,
        "measurement_preference": "meters",
        "clubs": [],
        "bikes": [{"id": "b1", "primary": True, "name": "Bike", "retired": False, "distance": 12}],
        "shoes": [{"id": "g2", "primary": False, "name": "Shoes 🛠", "nickname": None, "distance": 452834.5}],
    }
    return body | changes


def _split(number: int, distance: float) -> JsonObject:
    return {
        "distance": distance,
        "elapsed_time": 157,
        "elevation_difference": -2.2,
        "moving_time": 157,
        "split": number,
        "average_speed": 6.71,
        "average_grade_adjusted_speed": None,
        "average_heartrate": 133.45222929936307,
        "pace_zone": 0,
    }
