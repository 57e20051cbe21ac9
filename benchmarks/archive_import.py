"""Measures the import of an archive: seconds, memory, and its share of the speed at which Postgres takes bare rows.

Writes an archive of 4,000 rides of 4,000 records (two numbers make it another size), then imports it as a user does,
by the command and without the analysis. Memory is the proportional set size of all its processes together, Postgres
apart, looked at ten times a second. Bare rows: all that the import has stored, copied in binary form into empty tables
with the same indexes. Takes ten minutes and 6 GB of disk at this size.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from psycopg import Connection, connect
from psycopg.sql import SQL, Identifier
from sqlalchemy import text

from benchmarks.database import DATABASE, migrated_server, owner_url
from benchmarks.figure import show
from benchmarks.footprint import pss
from benchmarks.processor import Cost, cost_of, server_of, server_seconds
from strava_pipeline.local.logins import SUPERUSER
from strava_pipeline.local.postgres import Server
from strava_pipeline.mock_strava.archive_languages import LANGUAGES
from strava_pipeline.mock_strava.archive_row import cells
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.fit_recording import fit_recording
from strava_pipeline.mock_strava.plans import outings_between, track_of
from strava_pipeline.mock_strava.tracks import Track
from strava_pipeline.warehouse.engine import open_engine

MIB = 2**20
ATHLETE = 7
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LOOK_SECONDS = 0.1
# So many different rides: all others are these at other times.
TRACKS = 8
COMMAND = (sys.executable, "-m", "strava_pipeline", "archive", "import")
# Tables that an import without analysis fills.
FILLED = (
    "strava.activities", "strava.archive_figures", "strava.activity_streams", "strava.laps", "strava.recordings",
    "strava.recording_channels", "ops.archive_rows", "ops.archive_files", "ops.recording_bytes",
)  # fmt: skip


def main() -> None:
    """Write an archive, import it, and compare with a bare copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("activities", type=int, nargs="?", default=4_000)
    parser.add_argument("records", type=int, nargs="?", default=4_000)
    size = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as folder,
        migrated_server(durable=True) as server,
    ):
        archive = Path(folder) / f"export_{ATHLETE}.zip"
        _write(archive, size.activities, size.records)
        show("size of the archive", archive.stat().st_size / MIB, "MiB")
        engine = open_engine(owner_url(server))
        postgres = server_of(engine)
        engine.dispose()
        imported, peak = _import(archive, server, postgres, Path(folder))
        bare = _copy_bare(server, postgres, Path(folder))
        with engine.connect() as connection:
            requests = connection.execute(text("SELECT count(*) FROM ops.api_calls")).scalar_one()
            stored = connection.execute(text("SELECT count(*) FROM strava.activity_streams")).scalar_one()
        engine.dispose()
    show("activities with samples", stored, "", f"{size.activities:,}")
    show("import without analysis", imported.clock_s, "s")
    show("processor time of it, with Postgres'", imported.processor_s, "s")
    show("activities per second", size.activities / imported.clock_s, "1/s")
    show("peak memory of all processes but Postgres", peak / MIB, "MiB", "400")
    show("bare binary copy of the same rows", bare.clock_s, "s")
    show("processor time of it, with Postgres'", bare.processor_s, "s")
    show("share of the bare copy", 100 * bare.clock_s / imported.clock_s, "%", "at least 30")
    show("share of the bare copy by processor time", 100 * bare.processor_s / imported.processor_s, "%")
    show("requests to Strava", requests, "", "0")


def _write(path: Path, activities: int, records: int) -> None:
    """Write an archive in the layout of 2026: a FIT for each row, all in Strava's names."""
    language = LANGUAGES["en"]
    headers = language.column_headers()
    tracks = [_of_length(track, records) for track in _tracks()]
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(headers.values())
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(activities):
            start, track = NOW - timedelta(hours=21 * number), tracks[number % TRACKS]
            filename = f"activities/{5_000_000_000 + number}.fit.gz"
            archive.writestr(filename, gzip.compress(fit_recording(track, start, "Ride"), 6))
            values = {
                "id": 9_000_000_000 + number,
                "start": start,
                "name": f"Ride {number}",
                "sport_word": "Ride",
                "shown_elapsed_s": int(track.time[-1]),
                "elapsed_s": float(track.time[-1]),
                "moving_s": float(track.time[-1]),
                "distance_m": float(track.distance[-1]),
                "average_heartrate_bpm": 140.0,
                "filename": filename,
                "from_upload": True,
            }
            writer.writerow(cells(values, headers, language))
        archive.writestr("activities.csv", table.getvalue())
        archive.writestr("profile.csv", f"Athlete ID,Email Address,First Name\n{ATHLETE},,Ada\n")


def _tracks() -> Iterator[Track]:
    """Yield rides with a power meter, outdoors."""
    found = 0
    for plan in outings_between(CYCLIST, NOW - timedelta(days=365), NOW):
        track = None if plan.trainer or plan.in_water or plan.on_foot else track_of(CYCLIST, plan)
        if track is not None and track.latitude is not None and track.watts is not None:
            yield track
            found += 1
        if found == TRACKS:
            return


def _of_length(track: Track, records: int) -> Track:
    """A ride of so many records, one a second: its begin, or the same again and again."""
    places = np.arange(records) % len(track.time)
    rounds = np.arange(records) // len(track.time)
    series = {
        field.name: values[places] for field in fields(track) if (values := getattr(track, field.name)) is not None
    }
    return replace(
        track, **series | {"time": np.arange(records), "distance": series["distance"] + rounds * track.distance[-1]}
    )


def _import(archive: Path, server: Server, postgres: int, home: Path) -> tuple[Cost, int]:
    """Import by the command; return what it costs, and its peak memory (bytes)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STRAVA_", "DAGSTER_"))}
    environment |= {
        "STRAVA_HOME": str(home),
        "STRAVA_DATABASE_URL": owner_url(server).render_as_string(hide_password=False),
    }
    began, before, peak = time.perf_counter(), _ended_seconds() + server_seconds(postgres), 0
    command = [*COMMAND, str(archive), "--athlete", str(ATHLETE), "--no-analysis"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise SystemExit("the import failed")
    used = _ended_seconds() + server_seconds(postgres) - before
    return Cost(time.perf_counter() - began, used), peak


def _ended_seconds() -> float:
    """The processor seconds of this process' children that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def _memory(top: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(top)
        for each in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
                total += pss(each.pid)
    return total


def _copy_bare(server: Server, postgres: int, folder: Path) -> Cost:
    """Return what it costs to copy what is stored into empty tables with the same indexes."""
    clock_s = processor_s = 0.0
    with connect(host=str(server.socket_dir), user=SUPERUSER, dbname=DATABASE, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA bare")
        for name in FILLED:
            source, target = Identifier(*name.split(".")), Identifier("bare", name.partition(".")[2])
            connection.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(target, source))
            file = folder / "rows"
            _dump(connection, source, file)
            cost = cost_of(postgres, partial(_load, connection, target, file))
            clock_s, processor_s = clock_s + cost.clock_s, processor_s + cost.processor_s
            file.unlink()
    return Cost(clock_s, processor_s)


def _dump(connection: Connection, source: Identifier, file: Path) -> None:
    with (
        file.open("wb") as out,
        connection.cursor().copy(SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(source)) as rows,
    ):
        for piece in rows:
            out.write(piece)


def _load(connection: Connection, target: Identifier, file: Path) -> None:
    with (
        file.open("rb") as rows,
        connection.cursor().copy(SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(target)) as to,
    ):
        while piece := rows.read(MIB):
            to.write(piece)


if __name__ == "__main__":
    main()
