"""Makes up listed activities for benchmarks, in the form of Strava's answers."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

ATHLETE = 1001
FIRST_START = datetime(2008, 1, 1, 6, tzinfo=UTC)
SPORTS = ("Ride", "GravelRide", "Run", "TrailRun", "Swim", "Hike")
POLYLINE_LENGTH = 400


def summaries(count: int) -> list[dict[str, Any]]:
    """Return ``count`` activities of one athlete, an hour and a half apart, oldest first; equal in each call."""
    chance = random.Random(7)
    return [_summary(number, chance) for number in range(count)]


def _summary(number: int, chance: random.Random) -> dict[str, Any]:
    start = FIRST_START + timedelta(minutes=90 * number)
    sport = SPORTS[number % len(SPORTS)]
    latitude, longitude = 46 + chance.random(), 14 + chance.random()
    activity_id = 10_000_000_000 + number
    distance, moving = round(chance.uniform(1e3, 1e5), 1), chance.randrange(600, 20_000)
    return {
        "resource_state": 2,
        "athlete": {"id": ATHLETE, "resource_state": 1},
        "name": f"Morning {sport} {number} 🚴",
        "distance": distance,
        "moving_time": moving,
        "elapsed_time": moving + chance.randrange(600),
        "total_elevation_gain": round(chance.uniform(0, 2000), 1),
        "type": "Ride" if sport == "GravelRide" else "Run" if sport == "TrailRun" else sport,
        "sport_type": sport,
        "workout_type": None,
        "id": activity_id,
        "start_date": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "start_date_local": f"{start + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "timezone": "(GMT+01:00) Europe/Vienna",
        "utc_offset": 3600.0,
        "location_city": None,
        "location_state": None,
        "location_country": "Austria",
        "achievement_count": number % 7,
        "kudos_count": number % 31,
        "comment_count": number % 3,
        "athlete_count": 1 + number % 4,
        "photo_count": 0,
        "map": {
            "id": f"a{activity_id}",
            "summary_polyline": "".join(chance.choices("abcdefghijklmnop_`~?@", k=POLYLINE_LENGTH)),
            "resource_state": 2,
        },
        "trainer": False,
        "commute": number % 5 == 0,
        "manual": False,
        "private": False,
        "visibility": "everyone",
        "flagged": False,
        "gear_id": f"b{number % 4}",
        "start_latlng": [latitude, longitude],
        "end_latlng": [latitude, longitude],
        "average_speed": round(distance / moving, 3),
        "max_speed": round(distance / moving * 2, 3),
        "average_cadence": round(chance.uniform(60, 95), 1),
        "average_temp": number % 30,
        "average_watts": round(chance.uniform(100, 300), 1),
        "weighted_average_watts": chance.randrange(100, 320),
        "kilojoules": round(chance.uniform(100, 3000), 1),
        "device_watts": True,
        "has_heartrate": True,
        "average_heartrate": round(chance.uniform(110, 160), 1),
        "max_heartrate": float(chance.randrange(160, 200)),
        "max_watts": chance.randrange(300, 1200),
        "heartrate_opt_out": False,
        "display_hide_heartrate_option": True,
        "elev_high": round(chance.uniform(300, 2500), 1),
        "elev_low": round(chance.uniform(0, 300), 1),
        "upload_id": 11_000_000_000 + number,
        "upload_id_str": str(11_000_000_000 + number),
        "external_id": f"garmin_push_{number}",
        "from_accepted_tag": False,
        "pr_count": number % 3,
        "total_photo_count": number % 2,
        "has_kudoed": False,
        "suffer_score": float(number % 200),
    }
