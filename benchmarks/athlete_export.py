"""Measures the export of one athlete and the way back: seconds, size, and the memory of the processes.

``python -m benchmarks.athlete_export [ACTIVITIES] [SAMPLES]`` fills a database with one athlete of ACTIVITIES (1500)
activities with SAMPLES (4000) samples each, exports them to a zip, and restores that into another database. Each is
done by a process of its own; Postgres' memory does not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from benchmarks.many_athletes_data import FIRST_ATHLETE, Size, fill
from strava_pipeline.warehouse.athlete_export.exporting import export_athlete
from strava_pipeline.warehouse.athlete_export.opened_export import open_export
from strava_pipeline.warehouse.athlete_export.restoring import restore_athlete
from strava_pipeline.warehouse.engine import open_engine

# Series as a device records them, one value a second.
SAMPLES = """
UPDATE strava.activity_streams SET point_count = :samples, time = made.time, distance = made.distance,
    latitude = made.latitude, longitude = made.longitude, altitude = made.altitude, velocity_smooth = made.speed,
    heartrate = made.heartrate, cadence = made.cadence, watts = made.watts, moving = made.moving, temp = made.temp,
    grade_smooth = made.grade
FROM (SELECT array_agg(n) AS time, array_agg(round((n * 7.3)::numeric, 1)::float8) AS distance,
        array_agg(round((51.5 + n * 5e-5 + random() * 1e-5)::numeric, 6)::float8) AS latitude,
        array_agg(round((-0.1 + n * 3e-5 + random() * 1e-5)::numeric, 6)::float8) AS longitude,
        array_agg(round((20 + 50 * sin(n / 300.0) + random())::numeric, 1)::float8) AS altitude,
        array_agg(round((7 + random())::numeric, 1)::float8) AS speed,
        array_agg((130 + 20 * random())::int::float8) AS heartrate,
        array_agg((80 + 9 * random())::int::float8) AS cadence,
        array_agg((200 + 99 * random())::int::float8) AS watts, array_agg(true) AS moving,
        array_agg(21.0::float8) AS temp, array_agg(round((random() * 5)::numeric, 1)::float8) AS grade
    FROM generate_series(0, :samples - 1) AS n) AS made
"""
FLAT_MIB = 200


def main() -> None:
    """Fill, export, restore, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("activities", type=int, nargs="?", default=1500)
    parser.add_argument("samples", type=int, nargs="?", default=4000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, migrated_database() as source:
        engine = open_engine(source)
        fill(engine, Size(1, given.activities, 0, 0))
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.execute(text(SAMPLES), {"samples": given.samples})
        engine.dispose()
        address, path = source.render_as_string(hide_password=False), Path(folder) / "copy.zip"
        for name, step in (("export without GPX", "tables"), ("export", "export")):
            path.unlink(missing_ok=True)
            _show(name, _run(step, address, path))
            show(f"size of {name}", path.stat().st_size / 1e6, "MB")
        with migrated_database() as target:
            _show("restore", _run("restore", target.render_as_string(hide_password=False), path))


def _show(name: str, done: dict[str, float]) -> None:
    show(f"seconds of {name}", done["seconds"], "s")
    show(f"peak memory of {name}, beyond the start", done["peak_mib"] - done["start_mib"], "MiB", f"<= {FLAT_MIB}")


def _run(step: str, address: str, path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.athlete_export import step; step()", step, address, str(path)],
        check=True,
        stdout=subprocess.PIPE,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def step() -> None:
    """Do one step in this process, and print its seconds and memory (MiB) as JSON."""
    what, address, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    engine = open_engine(make_url(address))
    with engine.connect():
        start, began = _peak_mib(), time.perf_counter()
    if what == "restore":
        with open_export(path) as export:
            restore_athlete(engine, export)
    else:
        export_athlete(engine, FIRST_ATHLETE, path, parquet=True, gpx=what == "export")
    figures: dict[str, Any] = {"seconds": time.perf_counter() - began, "start_mib": start, "peak_mib": _peak_mib()}
    print(json.dumps(figures))


def _peak_mib() -> float:
    """The highest memory so far; ``getrusage`` would tell that of the process before this program was loaded, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
