"""Imports a whole history in one run: 10,000 activities with details and streams (600 samples) from an unlimited mock.

``python -m benchmarks.backfill [COUNT]``. Measures wall time, activities per second, the memory of the run's process at
each quarter and at its peak (beside the peak of a run over a tenth), and the requests that the mock counted. Postgres
commits to the disk as in operation; batches have no pause. Progress goes to standard error every half minute.

What Dagster itself needs does not depend on the number of activities: it records 363 materializations, which takes a
minute on a busy machine. So few activities take long for their number. On two cores with little other work, 10,000 took
320 s, after a minute and a half for the 1,000 before them; beside heavy work (load 5 to 15), 1,500 took 230 s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from benchmarks.database import migrated_server, owner_url
from benchmarks.figure import show
from benchmarks.many_activities import ATHLETE, NO_LIMIT
from strava_pipeline.cli.athletes import connect_athlete
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import DAGSTER_DATABASE
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import open_engine

COUNT = 10_000
PER_PAGE = 199
LISTENING = "listening on "


@dataclass(frozen=True)
class Measured:
    """The figures of one run: s, MiB, and requests by kind; ``held_mib`` by number of activities with streams."""

    seconds: float
    peak_mib: float
    held_mib: dict[str, float]
    listing: int
    details: int
    streams: int


def main() -> None:
    """Measure a run over a tenth of the activities, then one over all."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    tenth = measure(count // 10)
    whole = measure(count)
    per_activity = (whole.details + whole.streams) / count
    show("activities in one run", count)
    show("wall time", whole.seconds, "s")
    show("activities per second", count / whole.seconds, "/s")
    show("peak memory of the run's process", whole.peak_mib, "MiB", "<= 350")
    for stored, mib in whole.held_mib.items():
        show(f"memory held with {stored} activities stored", mib, "MiB")
    show(f"peak memory of a run over {count // 10}", tenth.peak_mib, "MiB")
    show("requests per activity, without the listing", per_activity, "", "2")
    show("requests of the listing", whole.listing, "", f"{count // PER_PAGE + 1}")


def measure(count: int) -> Measured:
    """Return the figures of one run over ``count`` activities, into an empty database."""
    with (
        migrated_server(durable=True) as server,
        mock(count) as address,
        tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as home,
    ):
        environment = connected(server, address, home)
        done = subprocess.run(
            (sys.executable, "-m", "benchmarks.backfill_run", str(count)),
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        figures = json.loads(done.stdout.splitlines()[-1])
        calls = requests.get(f"{address}/mock/calls", timeout=60).json()["totals"]["endpoints"]
    return Measured(
        seconds=figures["seconds"],
        peak_mib=figures["peak_mib"],
        held_mib=figures["held_mib"],
        listing=calls["GET /api/v3/athlete/activities"],
        details=calls["GET /api/v3/activities/{id}"],
        streams=calls["GET /api/v3/activities/{id}/streams"],
    )


@contextmanager
def mock(count: int) -> Iterator[str]:
    """Serve a mock Strava with ``count`` activities; yields its address."""
    process = subprocess.Popen(
        (sys.executable, "-m", "benchmarks.many_activities", str(count)), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101  it was asked for
        line = next(line for line in process.stdout if LISTENING in line)
        yield line.split(LISTENING)[1].strip()
    finally:
        process.terminate()
        process.wait(timeout=20)


def connected(server: Server, address: str, home: str) -> dict[str, str]:
    """Connect the mock's athlete, and return the environment of the app; also sets it in this process."""
    url = owner_url(server)
    ours = {
        "STRAVA_HOME": home,
        "STRAVA_DATA_IN_HOME": "true",
        "STRAVA_DATABASE_URL": url.render_as_string(hide_password=False),
        "DAGSTER_POSTGRES_URL": server.url(DAGSTER_DATABASE, Login.DAGSTER),
        "STRAVA_API_URL": f"{address}/api/v3",
        "STRAVA_OAUTH_URL": f"{address}/oauth",
        "STRAVA_CLIENT_ID": "1",
        "STRAVA_CLIENT_SECRET": "benchmark",
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_QUOTA_SHORT_LIMIT": str(NO_LIMIT),
        "STRAVA_QUOTA_LONG_LIMIT": str(NO_LIMIT),
        "STRAVA_IMPORT_BATCH_INTERVAL_SECONDS": "0",
    }
    for name in [name for name in os.environ if name.startswith("DAGSTER_")]:
        del os.environ[name]  # may name the instance of an earlier run
    os.environ.update(ours)
    (athlete,) = requests.get(f"{address}/mock/athletes", timeout=60).json()
    assert athlete["id"] == ATHLETE  # noqa: S101  the mock has no other
    engine = open_engine(url)
    connect_athlete(load_settings(), engine, athlete["code"])
    engine.dispose()
    return os.environ | ours


if __name__ == "__main__":
    main()
