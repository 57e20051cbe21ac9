"""Recorded answers of one made-up athlete, in the shapes that Strava's answers have had over the years."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]
ATHLETE_ID = 7_000_000_123
SHOES = {
    "id": "g700", "primary": False, "name": "Trail", "nickname": "old", "resource_state": 2,
    "retired": True, "distance": 484126.0, "converted_distance": 484.1,
}  # fmt: skip
RUNNER = {
    "id": ATHLETE_ID, "username": None, "resource_state": 3, "firstname": "Iða", "lastname": 'O"Neil\n', "bio": None,
    "city": "", "state": None, "country": "Ísland", "sex": "F", "premium": True, "summit": True,
    "created_at": "2013-05-08T15:02:14Z", "updated_at": "2025-10-19T20:00:00Z", "badge_type_id": 1, "weight": 61,
    "profile_medium": "https://pictures.example.invalid/medium.jpg", "ftp": None, "measurement_preference": "meters",
    "profile": "https://pictures.example.invalid/large.jpg", "friend": None, "follower": None, "clubs": [],
    "bikes": [{"id": "b700", "primary": True, "name": "Tourer", "nickname": "", "resource_state": 2,
               "retired": False, "distance": 1204000, "converted_distance": 1204}],
    "shoes": [SHOES],
}  # fmt: skip
NAMES = (
    "Morning Run",
    "",
    'He said "go", twice',
    "ünï 🦔 cøde",
    "=SUM(A1)",
    "two\nlines",
    " blanks ",
    "tab\there",
    "a\\b",
)
MARATHON_ID = 9_007_199_254_741_055


@dataclass(frozen=True)
class Recorded:
    """What a folder of recordings holds, for comparison with the tables."""

    activities: list[JsonObject]

    @property
    def names(self) -> dict[int, str]:
        return {body["id"]: body["name"] for body in self.activities}

    def total(self, field: str) -> float:
        return float(sum(body[field] for body in self.activities))

    @property
    def by_month(self) -> Counter[str]:
        return Counter(body["start_date"][:7] for body in self.activities)


def write(folder: Path) -> Recorded:
    """Write the athlete into a folder, as ``mock-strava --recordings`` takes it."""
    bodies = [*_years(), _as_in_2013(), _by_hand_as_in_2013(), _marathon()]
    streams = {MARATHON_ID: _keyed_streams(), bodies[0]["id"]: _listed_streams()}
    (folder / "activities").mkdir(parents=True)
    (folder / "streams").mkdir()
    _write(folder / "athlete.json", RUNNER)
    for body in bodies:
        _write(folder / "activities" / f"{body['id']}.json", body)
    for number, found in streams.items():
        _write(folder / "streams" / f"{number}.json", found)
    return Recorded(bodies)


def _write(path: Path, body: Any) -> None:
    path.write_text(json.dumps(body), encoding="utf-8")


def _years() -> list[JsonObject]:
    """Summaries over two years, some at the very edges of a month, with and without GPS."""
    edges = [
        datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2024, 2, 1, 0, 0, 0, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 0, 1, tzinfo=UTC),
    ]
    spread = [datetime(2023, 12, 10, 15, 40, 28, tzinfo=UTC) + timedelta(days=15, hours=5) * step for step in range(40)]
    return [_summary(number, start) for number, start in enumerate([*edges, *spread])]


def _summary(number: int, start: datetime) -> JsonObject:
    swims = number % 7 == 3
    body = _frame(5_000_000_000 + 7919 * number, start, NAMES[number % len(NAMES)]) | {
        "sport_type": "Swim" if swims else ("TrailRun" if number % 5 == 1 else "Run"),
        "type": "Swim" if swims else "Run",
        "workout_type": None if swims else 0,
        "has_heartrate": not swims,
        "visibility": "only_me" if number % 9 == 4 else "everyone",
        "private": number % 9 == 4,
        "start_latlng": [] if swims else [64.1, -21.9],
        "end_latlng": [] if swims else [64.12, -21.87],
        "gear_id": None if swims else "g700",
        "upload_id": 6_000_000_000 + number,
        "upload_id_str": str(6_000_000_000 + number),
    }
    if swims:
        body["map"]["summary_polyline"] = ""
    else:
        body |= {
            "average_heartrate": 150.3,
            "max_heartrate": 171,
            "average_cadence": 88.2,
            "elev_high": 40,
            "elev_low": 3,
        }
    return body


def _frame(number: int, start: datetime, name: str) -> JsonObject:
    """What activities of all years have."""
    distance = 5000 + number % 977 + (0.5 if number % 2 else 0)
    return {
        "resource_state": 2,
        "athlete": {"id": ATHLETE_ID, "resource_state": 1},
        "name": name,
        "distance": distance,
        "moving_time": 1500 + number % 311,
        "elapsed_time": 1510 + number % 307,
        "total_elevation_gain": number % 90,
        "id": number,
        "start_date": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "start_date_local": f"{start - timedelta(hours=4):%Y-%m-%dT%H:%M:%SZ}",
        "timezone": "(GMT-05:00) America/New_York",
        "utc_offset": -14400,
        "location_city": None,
        "location_state": None,
        "location_country": "",
        "achievement_count": 0,
        "kudos_count": number % 5,
        "comment_count": 0,
        "athlete_count": 1,
        "photo_count": 0,
        "map": {"id": f"a{number}", "summary_polyline": "_p~iF~ps|U_ulLnnqC", "resource_state": 2},
        "trainer": False,
        "commute": False,
        "manual": False,
        "private": False,
        "flagged": False,
        "gear_id": None,
        "from_accepted_tag": False,
        "average_speed": 3.1,
        "max_speed": 5,
        "has_heartrate": False,
        "external_id": f"{number}.fit",
        "upload_id": 4_000_000,
        "total_photo_count": 0,
        "has_kudoed": False,
    }


def _without(body: JsonObject, *names: str) -> JsonObject:
    return {name: value for name, value in body.items() if name not in names}


def _as_in_2013() -> JsonObject:
    """A detail as it was then: no sport_type, no utc_offset, no visibility; dated later to keep the test short."""
    body = _frame(48_000_001, datetime(2023, 12, 12, 19, 36, 41, tzinfo=UTC), "Old run")
    body |= {
        "resource_state": 3,
        "type": "Run",
        "start_latitude": 1.0,
        "guid": "x",
        "description": None,
        "calories": 600,
    }
    return _without(body, "utc_offset", "has_heartrate", "from_accepted_tag")


def _by_hand_as_in_2013() -> JsonObject:
    body = _frame(43_000_001, datetime(2023, 11, 17, 16, 0, 0, tzinfo=UTC), "Hike by hand")
    body |= {
        "resource_state": 3, "type": "Hike", "manual": True, "upload_id": None, "external_id": None,
        "start_latlng": [40.0, -70.0], "end_latlng": None,
    }  # fmt: skip
    body["map"] = {"id": "a43000001", "summary_polyline": None, "polyline": None, "resource_state": 3}
    return _without(body, "utc_offset")


def _marathon() -> JsonObject:
    """A detail with everything that hangs on one; its ids do not fit a double."""
    start = datetime(2025, 10, 19, 20, 0, 0, tzinfo=UTC)
    body = _frame(MARATHON_ID, start, "Marathon 🏅")
    when = {"start_date": body["start_date"], "start_date_local": body["start_date_local"]}
    effort = when | {"distance": 1000, "elapsed_time": 300, "moving_time": 299, "start_index": 0, "end_index": 9}
    split = {"distance": 1000.2, "elapsed_time": 300, "moving_time": 300, "elevation_difference": -1.5,
             "average_speed": 3.33, "pace_zone": 0}  # fmt: skip
    return body | {
        "resource_state": 3,
        "sport_type": "Run",
        "type": "Run",
        "workout_type": 1,
        "visibility": "everyone",
        "upload_id": 9_007_199_254_741_057,
        "upload_id_str": "9007199254741057",
        "description": "with\nlines",
        "calories": 2900.5,
        "device_name": "Watch",
        "gear_id": "g700",
        "gear": _without(SHOES, "nickname"),
        "laps": [{"id": 9_007_199_254_741_100, "name": "Lap 1", "lap_index": 1, "split": 1, **effort}],
        "splits_metric": [{"split": number, **split} for number in (1, 2, 3)],
        "splits_standard": [{"split": number, **split} for number in (1, 2)],
        "best_efforts": [{"id": 9_007_199_254_741_200, "name": "1K", "pr_rank": 1, "achievements": [], **effort}],
        "segment_efforts": [
            {"id": 9_223_372_036_854_775_000 + number, "name": "Hill", "segment": {"id": 17 + number}, "hidden": False,
             "kom_rank": None, "pr_rank": 2, **effort}
            for number in range(2)
        ],
    }  # fmt: skip


def _keyed_streams() -> JsonObject:
    def stream(data: list[Any]) -> JsonObject:
        return {"data": data, "series_type": "distance", "original_size": len(data), "resolution": "high"}

    return {
        "time": stream([0, 10, 20]),
        "distance": stream([0.0, 30.5, 61]),
        "heartrate": stream([120, None, 130]),
        "latlng": stream([[64.1, -21.9], [64.1003, -21.9], [64.1006, -21.9]]),
    }


def _listed_streams() -> list[JsonObject]:
    return [
        {"type": kind, "data": data, "series_type": "distance", "original_size": 2, "resolution": "low"}
        for kind, data in (("time", [0, 60]), ("distance", [0, 200.5]), ("grade_adjusted_speed", [3.1, 3.2]))
    ]
