"""Kills processes at random, and checks that every acknowledged event still takes effect, exactly once.

1,000 events of 100 activities (created, edited, deleted) are delivered as by Strava, each until it is acknowledged.
Meanwhile, at random times, the bridge or a run is killed with kill -9 every 3 to 12 s, and Postgres crashes and
restarts every 5 to 40 s. The bridge and the job are the real ones, in processes of their own; a stand-in for Dagster
launches the runs, and leases last 5 s instead of 60. Afterwards the tables must equal what the mock Strava has. The
seed of the random choices is printed, and ``--seed`` repeats them. ``--events`` sets the number: 200 took 5 minutes on
two busy cores.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import requests
from sqlalchemy import Engine, func, make_url, select

from benchmarks.database import DATABASE, create_database
from benchmarks.figure import show
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import revive_server, using_server
from strava_pipeline.local.supervisor import find_free_port
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.migrate import migrate
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline_tests.e2e.live_path import LivePath
from strava_pipeline_tests.e2e.run_launcher import LIBRARIES, run_launcher
from strava_pipeline_tests.warm_processes import WarmProcesses

EVENTS_PER_ACTIVITY = 10
SENDERS = 4
BETWEEN_DELIVERIES_SECONDS = 0.3
DRAIN_SECONDS = 420
LISTENING = "listening on "


def main() -> None:
    """Deliver events during the faults, wait until the inbox is empty, and compare the tables with the mock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    show("seed", f"{options.seed}")
    with _installed() as (path, home):
        chance = random.Random(options.seed)
        path.start_bridge()
        rides = [path.ride() for _ in range(options.events // EVENTS_PER_ACTIVITY)]
        ended = threading.Event()
        kills: list[tuple[str, datetime]] = []
        faults = threading.Thread(target=_faults, args=(path, home, chance, ended, kills))
        faults.start()
        try:
            acknowledged = _deliver_all(path, rides)
        finally:
            ended.set()
            faults.join()
        drained_s = _drain(path)
        _report(path, acknowledged, kills, drained_s)


def _deliver_all(path: LivePath, rides: list[int]) -> list[tuple[int, str, int]]:
    """Deliver all events, those of one activity in order, each until it is acknowledged; returns them."""
    acknowledged: list[tuple[int, str, int]] = []

    def live(place: int) -> None:
        ride = rides[place]
        # Every fifth activity is deleted in the end.
        last = "delete" if place % 5 == 0 else "update"
        for number, aspect in enumerate(["create", *["update"] * (EVENTS_PER_ACTIVITY - 2), last]):
            address = f"{path.mock_url}/mock/activities/{ride}"
            if aspect == "update":
                requests.put(address, json={"name": f"title {number}", "silent": True}, timeout=30).raise_for_status()
            elif aspect == "delete":
                requests.delete(address, params={"silent": "true"}, timeout=30).raise_for_status()
            while not path.deliver(ride, aspect, number):
                time.sleep(BETWEEN_DELIVERIES_SECONDS)
            acknowledged.append((ride, aspect, number))
            time.sleep(BETWEEN_DELIVERIES_SECONDS)

    with ThreadPoolExecutor(SENDERS) as senders:
        list(senders.map(live, range(len(rides))))
    return acknowledged


def _faults(
    path: LivePath, home: Path, chance: random.Random, ended: threading.Event, kills: list[tuple[str, datetime]]
) -> None:
    """Kill processes until everything is delivered; the bridge is started again at once, as a supervisor would."""
    next_restart = time.monotonic() + chance.uniform(5, 40)
    while not ended.wait(chance.uniform(3, 12)):
        if time.monotonic() > next_restart:
            kills.append(("Postgres", datetime.now(UTC)))
            _crash_postgres(home)
            next_restart = time.monotonic() + chance.uniform(5, 40)
        elif chance.random() < 0.5 and (runs := path.launcher.alive()):
            kills.append(("run", datetime.now(UTC)))
            chance.choice(runs).kill()
        else:
            kills.append(("bridge", datetime.now(UTC)))
            path.stop_bridge()
            path.start_bridge()


def _crash_postgres(home: Path) -> None:
    """Shut Postgres down at once, which equals a crash: it recovers from its log when it starts again."""
    postmaster = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0]))
    postmaster.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postmaster], timeout=30)
    revive_server(home)


def _drain(path: LivePath) -> float:
    began = time.monotonic()
    while time.monotonic() < began + DRAIN_SECONDS:
        try:
            if path.open_events() == 0:
                break
        except DatabaseUnavailable:
            pass  # the pool still holds connections from before the last restart
        time.sleep(0.2)
    return time.monotonic() - began


def _report(
    path: LivePath, acknowledged: list[tuple[int, str, int]], kills: list[tuple[str, datetime]], drained_s: float
) -> None:
    done, states = _inbox(path.engine)
    with path.engine.connect() as connection:
        names = {row.id: row.name for row in connection.execute(select(activities.c.id, activities.c.name))}
        samples = connection.execute(select(func.count()).select_from(activity_streams)).scalar_one()
        analyses = connection.execute(select(func.count()).select_from(route_analyses)).scalar_one()
    wanted = {
        ride: f"title {EVENTS_PER_ACTIVITY - 1}"
        for ride, aspect, number in acknowledged
        if number == EVENTS_PER_ACTIVITY - 1 and aspect == "update"
    }
    events = {(ride, aspect, 10**9 + number) for ride, aspect, number in acknowledged}
    for what in ("bridge", "run", "Postgres"):
        show(f"{what}: killed or restarted", sum(kind == what for kind, _ in kills), "x")
    show("acknowledged", len(acknowledged))
    show("acknowledged and lost", len(events - done), target="0")
    show("not done in the end, by state", str(states or "none"), target="none")
    show("activities that differ from Strava's", len(names.items() ^ wanted.items()), target="0")
    show("effects doubled or missing (streams, analyses)", abs(samples - len(wanted)) + abs(analyses - len(wanted)))
    show("until the inbox was empty, after the last delivery", drained_s, "s")
    recoveries = _recoveries(path.engine, kills)
    if recoveries:
        show("from a kill to the next event that is done, median", statistics.median(recoveries), "s")
        show("the same, p95", sorted(recoveries)[int(len(recoveries) * 0.95)], "s")


def _inbox(engine: Engine) -> tuple[set[tuple[int, str, int]], dict[str, int]]:
    """The events that are done, and the number of events in each other state."""
    with engine.connect() as connection:
        rows = connection.execute(select(webhook_events)).all()
    done = {(row.object_id, row.aspect_type, int(row.event_time.timestamp())) for row in rows if row.state == "done"}
    states: dict[str, int] = {}
    for row in rows:
        if row.state != "done":
            states[row.state] = states.get(row.state, 0) + 1
    return done, states


def _recoveries(engine: Engine, kills: list[tuple[str, datetime]]) -> list[float]:
    with engine.connect() as connection:
        query = select(webhook_events.c.finished_at).where(webhook_events.c.finished_at.is_not(None))
        finished = sorted(connection.execute(query).scalars())
    after = (next((at for at in finished if at > moment), None) for _, moment in kills)
    return [(at - moment).total_seconds() for at, (_, moment) in zip(after, kills, strict=True) if at is not None]


@contextmanager
def _installed() -> Iterator[tuple[LivePath, Path]]:
    """Start a durable Postgres, the mock Strava, and a launcher of runs."""
    for name in [name for name in os.environ if name.startswith(("STRAVA_", "DAGSTER_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as folder:
        home = Path(folder)
        with using_server(home) as server:
            create_database(server)
            url = server.url(DATABASE, Login.OWNER)
            os.environ |= {
                "STRAVA_HOME": folder,
                "STRAVA_DATABASE_URL": url,
                "STRAVA_CLIENT_ID": "1",
                "STRAVA_CLIENT_SECRET": secrets.token_hex(20),
                "STRAVA_TOKEN_KEYS": generate_key(),
                "STRAVA_QUOTA_SHORT_LIMIT": "50000",
                "STRAVA_QUOTA_LONG_LIMIT": "500000",
                "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify",
                "STRAVA_WEBHOOK_SIGNING_SECRETS": secrets.token_hex(20),
                "STRAVA_BRIDGE_PORT": str(find_free_port()),
                "VICTIM_LEASE_SECONDS": "5",
            }
            engine = open_engine(make_url(url))
            migrate(engine)
            with (
                _mock() as mock_url,
                WarmProcesses(LIBRARIES) as victims,
                run_launcher({}, victims) as (launcher, dagster_url),
            ):
                os.environ |= {
                    "STRAVA_API_URL": f"{mock_url}/api/v3",
                    "STRAVA_OAUTH_URL": f"{mock_url}/oauth",
                    "DAGSTER_WEBSERVER_URL": dagster_url,
                }
                path = LivePath(load_settings(), engine, mock_url, launcher)
                try:
                    yield path, home
                finally:
                    path.stop_bridge()
            engine.dispose()


@contextmanager
def _mock() -> Iterator[str]:
    command = (sys.executable, "-m", "strava_pipeline", "mock-strava", "--port", "0", "--months", "1")
    mock = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield next(line.split(LISTENING)[1].split()[0] for line in mock.stdout or () if LISTENING in line)
    finally:
        mock.terminate()
        mock.wait()


if __name__ == "__main__":
    main()
