"""429s and use of full windows: eight workers against a model of Strava, in simulated time, with the real ledger.

Steady: eight saturated backfill workers, for 30 windows. Rush: the same in the live lane, coming back 5 to 40 s
before a window ends and working on over its edge until the next one is full, too; 30 such edges. Beside it, in
the same run and with the same seeds, stravalib's ``DefaultRateLimiter``, one instance per worker as its users
have it, installed into a folder of its own. Takes about five minutes.
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
# A backfill leaves some calls of a window to its end; the rush shall meet the edge with full force.
LANES = {"steady": Lane.BACKFILL, "rush": Lane.LIVE}


def main() -> None:
    """Print both limiters' figures per pattern and skew; ours learns the skew from the answers."""
    with migrated_database() as url:
        engine = open_engine(url)
        for workers in runs():
            with engine.begin() as connection:
                connection.execute(text("TRUNCATE ops.api_calls, ops.quota_windows, ops.app_status"))
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
