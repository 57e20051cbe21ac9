"""Counts 429s and unused calls of full windows: eight workers against a model of Strava, in simulated time.

Steady: eight backfill workers that always want calls, for 30 windows. Rush: eight workers in the live lane that start 5
to 40 s before a window ends, and go on over its edge until the next window is full, too; 30 such edges. Both are run
with the real ledger, and then, with equal seeds, with stravalib's ``DefaultRateLimiter``: one instance per worker, as
its users have it, installed into a folder of its own. Takes about five minutes.
"""

from __future__ import annotations

import subprocess
import tempfile
import venv
from functools import partial
from pathlib import Path

from sqlalchemy import text

from benchmarks.database import migrated_database
from benchmarks.saturated_workers import LATENCY_S, WORKERS, runs
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.quota_callers import SimulatedCallers

CHECKOUT = Path(__file__).parents[1]
STRAVALIB = "stravalib==2.6.0"
# The backfill lane leaves some calls for the window's end; the rush must reach the edge at full speed.
LANES = {"steady": Lane.BACKFILL, "rush": Lane.LIVE}


def main() -> None:
    """Print the figures of both limiters for each pattern and clock skew; our ledger learns the skew from answers."""
    with migrated_database() as url:
        engine = open_engine(url)
        for workers in runs():
            with engine.begin() as connection:
                connection.execute(text("TRUNCATE ops.api_calls, ops.quota_windows, ops.app_status, ops.outages"))
            callers = SimulatedCallers(workers.simulation, workers.strava, workers.chance, workers.skew_s, LATENCY_S)
            lane = LANES[workers.pattern]
            workers.run([partial(callers.call, callers.ledger(engine), lane) for _ in range(WORKERS)])
            workers.figures("ours")
        engine.dispose()
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as folder:
        _run_stravalib(Path(folder))


def _run_stravalib(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    quietly = ["--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([python, "-m", "pip", "install", *quietly, STRAVALIB], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([python, "-m", "benchmarks.stravalib_saturation"], cwd=CHECKOUT, check=True)


if __name__ == "__main__":
    main()
