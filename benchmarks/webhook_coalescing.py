"""Counts how often an activity is fetched for 1,000 updates, and checks that no update is lost.

Uses one installation (mock Strava, embedded Postgres, Dagster, the bridge). The activity is created and imported. Then
updates are delivered: first of a field that the pipeline does not know, then of the title, with times before the
import. The mock counts the fetches. Takes about 3 minutes.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import requests
from sqlalchemy import func, select

from benchmarks.figure import show
from benchmarks.installation import Installation, installed
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities

UPDATES = 1000
SENDERS = 8
PATIENCE_SECONDS = 240


def main() -> None:
    """Deliver the updates, wait until all have taken effect, and count the fetches."""
    with installed() as installation:
        activity_id = installation.new_activity()
        with requests.Session() as session:
            installation.deliver(session, installation.event(activity_id, "create"))
        _drain(installation)
        for name, key in (("unclear updates", "weather"), ("updates of the title", "title")):
            fetches, seconds = _storm(installation, activity_id, key)
            show(f"{UPDATES:,} {name}: fetches of the activity", fetches, target="<= 2")
            show(f"{UPDATES:,} {name}: until the last has taken effect", seconds, "s")
        with installation.engine.connect() as connection:
            done = select(func.count()).where(webhook_events.c.state == "done").select_from(webhook_events)
            show("events done", connection.execute(done).scalar_one(), target=f"{2 * UPDATES + 1:,}")
            name = connection.execute(select(activities.c.name).where(activities.c.id == activity_id)).scalar_one()
        show("title in the table", name, target=f"title {UPDATES - 1}")


def _storm(installation: Installation, activity_id: int, key: str) -> tuple[int, float]:
    """Deliver the updates; return how often the activity was fetched, and how long all took (s)."""
    before = _fetches(installation, activity_id)
    # The events' times are a second apart, and the last one is not in the future.
    first = int(time.time()) - UPDATES
    title = f"title {UPDATES - 1}"
    change = {"name": title, "silent": True}
    requests.put(f"{installation.mock_url}/mock/activities/{activity_id}", json=change, timeout=30).raise_for_status()
    began = time.monotonic()
    sessions = [requests.Session() for _ in range(SENDERS)]

    def send(number: int) -> float:
        updates = {key: f"title {number}"}
        event = installation.event(activity_id, "update", updates=updates, event_time=first + number)
        sent = time.monotonic()
        if installation.deliver(sessions[number % SENDERS], event) != HTTPStatus.OK:
            raise RuntimeError("a delivery was refused")
        return time.monotonic() - sent

    with ThreadPoolExecutor(SENDERS) as senders:
        acked = list(senders.map(send, range(UPDATES)))
    show(f"acknowledged, median of {UPDATES:,}", statistics.median(acked) * 1000, "ms")
    _drain(installation)
    return _fetches(installation, activity_id) - before, time.monotonic() - began


def _drain(installation: Installation) -> None:
    """Wait until every event is done."""
    still_open = select(func.count()).where(webhook_events.c.state != "done").select_from(webhook_events)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with installation.engine.connect() as connection:
            if connection.execute(still_open).scalar_one() == 0:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the inbox is not empty after {PATIENCE_SECONDS} s")
        time.sleep(0.1)


def _fetches(installation: Installation, activity_id: int) -> int:
    return sum(call["path"].endswith(f"/activities/{activity_id}") for call in installation.calls())


if __name__ == "__main__":
    main()
