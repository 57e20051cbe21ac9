"""Measures the time from a delivery to the analysed row, against an empty job in one Dagster, launched by one call.

Uses one installation (mock Strava, embedded Postgres, Dagster's webserver and daemon, the bridge). Deliveries of new
rides and launches of the empty job alternate, so that other work on the machine disturbs both alike. Each comes after a
pause of its own: the daemon looks into the queue once a second, counted from the launch before, so without pauses each
kind would always find it at one point of its second. A delivery is measured from the POST until its figures can be
read; the empty job from the call until its run has succeeded. Dagster's event log then shows where the time of both
goes. Takes up to 15 minutes on two busy cores; ``--rounds`` sets the number of rounds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import requests
from sqlalchemy import Engine, make_url, select, text

from benchmarks.figure import show
from benchmarks.installation import Installation, installed
from strava_pipeline.warehouse.engine import ensure_dagster_url, open_engine
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from webhook_bridge.dagster_api import launch_run
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

TARGET = 1.5
LOOK_SECONDS = 0.01
PATIENCE_SECONDS = 120
EMPTY = "empty_job"
# As set in dagster.yaml.
DEQUEUE_SECONDS = 1.0
# Enough for the process of the run before to end.
SETTLE_SECONDS = 1.0
# The parts of a run's time, and the event in Dagster's log that ends each.
PARTS = (
    ("call, until the run is in the queue", "PIPELINE_ENQUEUED"),
    ("queue, until the daemon takes it", "PIPELINE_STARTING"),
    ("process, until the run begins", "PIPELINE_START"),
)


@dataclass(frozen=True)
class Timed:
    """One delivery or launch: when it began (epoch s), what it took (s), and the run that did it."""

    began: float
    seconds: float
    run_id: str


def main() -> None:
    """Measure both, and show where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many of each")
    rounds: int = parser.parse_args().rounds
    with installed() as installation:
        dagster = open_engine(make_url(ensure_dagster_url(installation.settings)).set(drivername="postgresql+psycopg"))
        rides, empties = [], []
        with requests.Session() as session:
            # A first round of both, not counted: it reads from the disk and compiles.
            deliver_ride(installation, session)
            _empty(installation, dagster)
            for ride_pause, empty_pause in zip(_pauses(rounds), _pauses(rounds), strict=True):
                time.sleep(ride_pause)
                rides.append(deliver_ride(installation, session))
                _until_ended(dagster, rides[-1].run_id)
                time.sleep(empty_pause)
                empties.append(_empty(installation, dagster))
        ours = statistics.median(ride.seconds for ride in rides)
        theirs = statistics.median(empty.seconds for empty in empties)
        show(f"POST -> analysed row, median of {rounds}", ours, "s")
        show(f"launchRun -> empty job has succeeded, median of {rounds}", theirs, "s")
        show("POST -> analysed row / empty job", ours / theirs, target=f"<= {TARGET}")
        show_parts("delivery", rides, dagster, "work, until the figures can be read")
        show_parts("empty job", empties, dagster, "work, until the run has succeeded")
        dagster.dispose()


def _pauses(count: int) -> list[float]:
    """Pauses in s: evenly spread over the interval of the daemon's looks into the queue, in random order."""
    pauses = [(number + random.random()) / count * DEQUEUE_SECONDS for number in range(count)]
    random.shuffle(pauses)
    return [SETTLE_SECONDS + pause for pause in pauses]


def deliver_ride(installation: Installation, session: requests.Session) -> Timed:
    """Deliver a new ride, and wait until its figures can be read."""
    activity_id = installation.new_activity()
    began_at, began = time.time(), time.monotonic()
    status = installation.deliver(session, installation.event(activity_id, "create"))
    if status != HTTPStatus.OK:
        raise RuntimeError(f"the bridge answered {status}")
    analysed = select(route_analyses.c.activity_id).where(route_analyses.c.activity_id == activity_id)
    _until(lambda: _first(installation.engine, analysed), "the analysed row")
    seconds = time.monotonic() - began
    run_of = select(webhook_events.c.run_id).where(webhook_events.c.object_id == activity_id)
    return Timed(began_at, seconds, _first(installation.engine, run_of))


def _empty(installation: Installation, dagster: Engine) -> Timed:
    began_at, began = time.time(), time.monotonic()
    server = DagsterServer.from_settings(installation.settings)
    place = replace(find_place(server), location="benchmark")
    run_id = launch_run(server, place, EMPTY, {}, {})
    _until_ended(dagster, run_id)
    return Timed(began_at, time.monotonic() - began, run_id)


def _until_ended(dagster: Engine, run_id: str) -> None:
    status = text("SELECT status FROM runs WHERE run_id = :run").bindparams(run=run_id)

    def ended() -> bool:
        found = _first(dagster, status)
        if found in ("FAILURE", "CANCELED"):
            raise RuntimeError(f"run {run_id} ended with {found}")
        return bool(found == "SUCCESS")

    _until(ended, "the end of a run")


def _until(look: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {PATIENCE_SECONDS} s")
        time.sleep(LOOK_SECONDS)


def _first(engine: Engine, query: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(query).scalar()


def show_parts(name: str, timed: list[Timed], dagster: Engine, work: str) -> None:
    """Show the median of each part; the last part, ``work``, ends when the measured time ends."""
    names = [*(part for part, _ in PARTS), work]
    spent: dict[str, list[float]] = {each: [] for each in names}
    query = text(
        "SELECT dagster_event_type AS kind, extract(epoch FROM min(timestamp)) AS at FROM event_logs"
        " WHERE run_id = :run AND dagster_event_type IS NOT NULL GROUP BY dagster_event_type"
    )
    for one in timed:
        with dagster.connect() as connection:
            at = {row.kind: float(row.at) for row in connection.execute(query.bindparams(run=one.run_id))}
        before = one.began
        for part, kind in PARTS:
            spent[part].append(at[kind] - before)
            before = at[kind]
        spent[work].append(one.began + one.seconds - before)
    for part, seconds in spent.items():
        show(f"{name}: {part}", statistics.median(seconds), "s")


if __name__ == "__main__":
    main()
