"""A mock Strava without limits, with one athlete who has COUNT small rides: ``python -m ... COUNT``.

Each ride has 600 samples of eight streams, two laps, four splits and two segment efforts; the rides are spread over ten
years up to today. Prints its address, and serves until it is ended.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.server import serve
from strava_pipeline.mock_strava.shapes import JsonObject, summary_of
from strava_pipeline.mock_strava.state import EXTENSION, Mock
from strava_pipeline.mock_strava.world import Activity, Person, World

ATHLETE = 118_204_771
YEARS = 10
POINTS = 600
NO_LIMIT = 10_000_000
POLYLINE = "_p~iF~ps|U_ulLnnqC"
YEAR_S = 31_557_600


@dataclass(frozen=True)
class SmallRide:
    """One of many equal rides."""

    number: int
    start: float

    @property
    def id(self) -> int:
        return 10_000_000_000 + self.number

    @property
    def private(self) -> bool:
        return False

    def summary(self) -> JsonObject:
        return summary_of(self.detail(all_efforts=True))

    def detail(self, *, all_efforts: bool) -> JsonObject:  # noqa: ARG002  none is hidden
        started = datetime.fromtimestamp(self.start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        part = {"elapsed_time": 300, "moving_time": 290, "distance": 1500.0, "start_date": started, "name": "part"}
        own = {"id": self.id, "name": f"Ride {self.number}", "start_date": started, "start_date_local": started}
        laps = [part | {"id": self.id * 10 + place, "lap_index": place} for place in (1, 2)]
        efforts = [part | {"id": self.id * 10 + place, "segment": {"id": place, "name": "hill"}} for place in (1, 2)]
        splits = [part | {"split": place} for place in (1, 2)]
        parts = {"laps": laps, "segment_efforts": efforts, "splits_metric": splits, "splits_standard": splits}
        return _common() | own | parts

    def streams(self) -> Any:
        return _streams()

    def laps(self) -> list[JsonObject]:
        return []

    def zones(self) -> list[JsonObject]:
        return []


@cache
def _common() -> JsonObject:
    return {
        "resource_state": 3, "athlete": {"id": ATHLETE, "resource_state": 1}, "type": "Ride", "sport_type": "Ride",
        "timezone": "(GMT+00:00) Europe/London", "utc_offset": 0.0, "distance": 3000.0, "moving_time": 590,
        "elapsed_time": 599, "total_elevation_gain": 30.0, "average_speed": 5.0, "max_speed": 9.5,
        "has_heartrate": True, "average_heartrate": 131.5, "max_heartrate": 170.0, "kudos_count": 3,
        "manual": False, "trainer": False, "private": False, "visibility": "everyone",
        "upload_id": 1, "external_id": "ride.fit", "calories": 220.0,
        "map": {"id": "a1", "summary_polyline": POLYLINE, "polyline": POLYLINE * 20},
        "start_latlng": [51.5, -0.1], "end_latlng": [51.6, -0.1], "description": "one of many",
        "device_name": "Odometer",
    }  # fmt: skip


@cache
def _streams() -> JsonObject:
    seconds = range(POINTS)
    series: dict[str, list[Any]] = {
        "time": list(seconds),
        "distance": [5.0 * second for second in seconds],
        "latlng": [[51.5 + second / 1e5, -0.1 - second / 1e5] for second in seconds],
        "altitude": [20 + second % 50 / 10 for second in seconds],
        "velocity_smooth": [5.0 + second % 7 / 10 for second in seconds],
        "heartrate": [110 + second % 60 for second in seconds],
        "watts": [150 + second % 90 for second in seconds],
        "moving": [True] * POINTS,
    }
    return {
        name: {"data": data, "series_type": "distance", "original_size": POINTS, "resolution": "high"}
        for name, data in series.items()
    }


def main() -> None:
    """Serve the rides."""
    count = int(sys.argv[1])
    config = MockConfig(
        months=1, short_limit=NO_LIMIT, long_limit=NO_LIMIT, client_id="1", client_secret="benchmark"  # noqa: S106  no secret
    )  # fmt: skip
    app = create_mock(config)
    now = datetime.now(UTC).timestamp()
    rides = [SmallRide(number, now - 3600 - YEARS * YEAR_S * (1 - (number + 1) / count)) for number in range(count)]
    person = Person(
        {"id": ATHLETE, "resource_state": 3, "firstname": "Ada"}, {ride.id: Activity(ride) for ride in rides}
    )
    mock: Mock = app.extensions[EXTENSION]
    mock.world = World([person])
    serve(app, 0, lambda address: print(f"listening on {address}", flush=True))


if __name__ == "__main__":
    main()
