"""Measures how fast stored rides are analysed again by the workers of one host, and of two.

The installation is that of ``examples/distributed``: hosts are network namespaces, runs are tasks of Celery. Postgres,
Redis, Dagster and the bridge are at the hub. A host gets half a processor, whatever it may find free, so that on two
processors a second host is more, and the hub is not slowed by it. 576 rides of an hour, of 24 athletes, are analysed
three times: to warm up, by one host, by both. An import by the product's own path does that: its bridge launches a run
for each athlete's year, for which figures lack. Takes six minutes, and root.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from benchmarks.control_groups import new_share
from benchmarks.figure import show
from benchmarks.reanalyse import COPY_ACTIVITIES, COPY_STREAMS, series_of
from benchmarks.ride import made_up_ride
from strava_pipeline.mock_strava.athletes import cyclist_body
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.imports.wishes import make_import
from strava_pipeline.warehouse.states import ImportStep, MadeBy
from strava_pipeline_tests.distributed import NAMES, Distributed, distributed, write_riders
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.warm_processes import COMMAND_MODULES, WarmProcesses

ATHLETES, ROUTES, RIDES_EACH = 24, 20, 24
# A ride every two weeks, so that the rides of an athlete are in twelve months.
START, APART = datetime(2024, 1, 1, 8, tzinfo=UTC), "15 days"
PROCESSORS_EACH = 0.5
PROCESSES_EACH = 2
HOSTS = ("one", "two")
LOOK_SECONDS = 0.5
LONGEST_S = 900.0


def main() -> None:
    """Store the rides, and analyse them by one host and by two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=3600)
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-")))
        warm = stack.enter_context(WarmProcesses(COMMAND_MODULES))
        riders = write_riders(folder / "riders", range(1, ATHLETES + 1), cyclist_body())
        # Removed once all processes in them have ended.
        shares = {name: stack.enter_context(new_share(name, PROCESSORS_EACH)) for name in HOSTS}
        running = stack.enter_context(
            distributed(warm, folder, folder / "postgres", riders, hosts=HOSTS, processes=PROCESSES_EACH)
        )
        for name, share in shares.items():
            for process in running.processes[name]:
                share.take(psutil.Process(process.pid))
        # Nothing is compared with Strava meanwhile, which knows none of this.
        running.instance.event_log_storage.set_concurrency_slots(NAMES.upkeep_pool, 0)
        _store(running.engine, chosen.points)
        show("rides", ATHLETES * RIDES_EACH)
        show("samples per ride", chosen.points)
        show("processors of each host", PROCESSORS_EACH)
        _analyse_all(running, HOSTS)
        alone = _analyse_all(running, HOSTS[:1])
        show("rides per second, one host", alone, "/s")
        together = _analyse_all(running, HOSTS)
        show("rides per second, two hosts", together, "/s")
        show("two hosts against one", together / alone, "x")


def _store(engine: Engine, points: int) -> None:
    connect_riders(engine, *range(ATHLETES))
    numbers = {"rides": ATHLETES * RIDES_EACH, "athletes": ATHLETES, "routes": ROUTES, "start": START}
    by_weeks = COPY_ACTIVITIES.replace("n * interval '1 hour'", f"(n / :athletes) * interval '{APART}'")
    with engine.begin() as connection:
        connection.execute(text(by_weeks.replace("(2, :rides)", "(1, :rides)")), numbers)
        streams = {name: {"data": values} for name, values in series_of(made_up_ride(points)).items()}
        store_streams(connection, map_streams(1, 1, streams), START)
        connection.execute(text(COPY_STREAMS), numbers)


def _analyse_all(running: Distributed, hosts: tuple[str, ...]) -> float:
    """Let these hosts analyse all rides anew; returns how many they did per second, from the first to the last."""
    running.take_runs(*hosts)
    with running.owner.begin() as owner:
        owner.execute(text("DELETE FROM strava.route_analyses"))
        owner.execute(text("DELETE FROM ops.imports"))
    seen = running.hosts_of_runs()
    for athlete_id in range(ATHLETES):
        with running.engine.begin() as connection:
            make_import(
                connection, athlete_id, START.date(), datetime.now(UTC).date().replace(day=1), [ImportStep.FIGURES],
                profile=False, by=MadeBy.COMMAND,
            )  # fmt: skip
    ends_at = time.monotonic() + LONGEST_S
    told = "SELECT count(*), extract(epoch FROM max(analysed_at) - min(analysed_at)) FROM strava.route_analyses"
    while (found := running.rows(told)[0])[0] < ATHLETES * RIDES_EACH:
        if time.monotonic() > ends_at:
            raise SystemExit(f"after {LONGEST_S:.0f} s only {found[0]} rides are analysed")
        time.sleep(LOOK_SECONDS)
    after = running.hosts_of_runs()
    at_work = {after[run_id] for run_id in after.keys() - seen.keys()}
    if at_work != set(hosts):
        raise SystemExit(f"{', '.join(sorted(at_work))} did the work of {', '.join(hosts)}")
    return float(found[0]) / float(found[1])


if __name__ == "__main__":
    main()
