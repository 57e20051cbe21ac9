"""Measures how fast stored rides are analysed again: rides per second, by one process on one core.

For each ride, the work is: read the streams, analyse, match the route, and write the rows of nine tables, in one
transaction.
10,000 rides of 600 samples are stored, so short that this takes a minute: ten athletes with twenty routes each. Rides
are analysed for a minute and a half. ``--rides`` and ``--points`` change the numbers. Takes three minutes.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from sqlalchemy import Engine, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from benchmarks.ride import made_up_ride
from strava_pipeline.analysis.track import Samples, Track
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.sync.backfill import analyse_activity
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.engine import open_engine

ATHLETES, ROUTES = 10, 20
START = datetime(2026, 5, 1, 8, tzinfo=UTC)
LONGEST_S = 90.0
COPY_ACTIVITIES = """
INSERT INTO strava.activities
    (id, athlete_id, resource_state, name, type, sport_type, start_date, start_date_local, fetched_at)
SELECT n, n % :athletes, 2, 'Ride', 'Ride', 'Ride', :start ::timestamptz + n * interval '1 hour',
       :start ::timestamptz + n * interval '1 hour', :start
FROM generate_series(2, :rides) AS n
"""
COPY_STREAMS = """
INSERT INTO strava.activity_streams
    (activity_id, athlete_id, point_count, time, distance, latitude, longitude, altitude, velocity_smooth, heartrate,
     cadence, watts, temp, moving, grade_smooth, fetched_at)
SELECT n, n % :athletes, s.point_count, s.time, s.distance,
       ARRAY(SELECT degrees + (n / :athletes % :routes) * 0.05 FROM unnest(s.latitude) AS degrees),
       s.longitude, s.altitude, s.velocity_smooth, s.heartrate, s.cadence, s.watts, s.temp, s.moving, s.grade_smooth,
       s.fetched_at
FROM strava.activity_streams AS s, generate_series(2, :rides) AS n WHERE s.activity_id = 1
"""


def main() -> None:
    """Store the rides, then analyse one after another, for ``LONGEST_S`` at most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rides", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=600)
    chosen = parser.parse_args()
    with migrated_database() as url:
        engine = open_engine(url)
        _store(engine, chosen.rides, chosen.points)
        began, busy = time.perf_counter(), time.process_time()
        done = 0
        for ride in range(1, chosen.rides + 1):
            analyse_activity(engine, ride)
            done += 1
            if time.perf_counter() - began > LONGEST_S:
                break
        took, busy = time.perf_counter() - began, time.process_time() - busy
        engine.dispose()
    show("rides stored", chosen.rides)
    show("samples per ride", chosen.points)
    show("rides analysed anew", done)
    show("rides per second, one process", done / took, "/s")
    show("rides per second of that process's processor time", done / busy, "/s")


def _store(engine: Engine, rides: int, points: int) -> None:
    track = made_up_ride(points)
    series = {name: {"data": values} for name, values in series_of(track).items()}
    numbers = {"rides": rides, "athletes": ATHLETES, "routes": ROUTES, "start": START}
    with engine.begin() as connection:
        connection.execute(text(COPY_ACTIVITIES.replace("(2, :rides)", "(1, :rides)")), numbers)
        store_streams(connection, map_streams(1, 1, series), START)
        connection.execute(text(COPY_STREAMS), numbers)


def series_of(track: Track) -> dict[str, list[object]]:
    """Return a track as Strava's streams."""
    names = {
        "time": track.time, "distance": track.distance, "altitude": track.altitude, "velocity_smooth": track.speed,
        "heartrate": track.heart_rate, "cadence": track.cadence, "watts": track.power, "temp": track.temperature,
        "grade_smooth": track.grade,
    }  # fmt: skip
    series: dict[str, list[object]] = {name: list(_plain(values, name)) for name, values in names.items()}
    series["latlng"] = [list(pair) for pair in zip(_plain(track.latitude), _plain(track.longitude), strict=True)]
    series["moving"] = [bool(flag) for flag in _plain(track.moving)]
    return series


def _plain(values: Samples | None, name: str = "") -> list[float]:
    found = [] if values is None else values.tolist()
    return [int(value) for value in found] if name == "time" else found


if __name__ == "__main__":
    main()
