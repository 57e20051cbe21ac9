"""Slots of a whole installation: months that somebody starts in Dagster's UI leave room for what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event

import pytest
import requests
from sqlalchemy import Engine, select

from strava_pipeline.defs.pools import USUAL_RUNS, Pools
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.names import HISTORY_ASSETS, PARTITION_TAG, Job
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.e2e.test_backfill_interrupted import found
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.wishes import wish, wish_for
from webhook_bridge.dagster_api import launch_assets
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

ATHLETE = CYCLIST.athlete_id
MONTHS = [f"{year}-{month:02d}-01" for year in (2019, 2020) for month in range(1, 11)]


@pytest.fixture
def mock(installation: Installation, start_mock: Callable[..., Mock]) -> Iterator[Mock]:
    """A mock before which everything is up, with one connected athlete."""
    mock = start_mock("--months", "1")
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    with everything_up(installation):
        yield mock


@contextmanager
def answered_now_and_then(settings: Settings, engine: Engine) -> Iterator[None]:
    """Let Strava answer a call every ten seconds during the block: calls that hang are no outage then."""
    ended = Event()

    def ask() -> None:
        client = open_client(settings, engine, Lane.LIVE, timedelta(minutes=5))
        while not ended.wait(10):
            client.get_athlete(ATHLETE)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            ended.set()
        asking.result(PATIENCE_SECONDS)


def test_twenty_months_started_in_the_ui_leave_slots_for_a_webhook_and_a_newest_month(
    installation: Installation, mock: Mock, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    # Strava's time is known from now on. Else calls go one at a time, and each waits for one that hangs.
    installation.output("api", "/athlete", "--athlete", str(ATHLETE))
    hang = {"path": "*/athlete/activities", "fault": "hang", "times": None}
    requests.post(f"{mock.url}/mock/faults", json=hang, timeout=PATIENCE_SECONDS).raise_for_status()
    with answered_now_and_then(settings, engine):
        fill_the_slots(installation, mock, engine, settings)


def fill_the_slots(installation: Installation, mock: Mock, engine: Engine, settings: Settings) -> None:
    """Launch more months than there are slots, none of which ends; then let a ride and a new athlete come."""
    dagsters_database = installation.environment["DAGSTER_POSTGRES_URL"]
    dagster = DagsterServer.from_settings(settings)
    # As the UI does: with a partition and nothing else.
    partitions = [{PARTITION_TAG: f"{ATHLETE}|{month}"} for month in MONTHS]
    launched = {launch_assets(dagster, find_place(dagster), HISTORY_ASSETS, tags) for tags in partitions}

    def states() -> Counter[str]:
        rows = found(dagsters_database, "SELECT run_id, status FROM runs")
        return Counter(status for run_id, status in rows if run_id in launched)

    slots = Pools.of_runs(NAMES, USUAL_RUNS).slots[NAMES.pool]
    eventually(lambda: states()["STARTED"] == slots, "a run in each slot")
    ride = requests.post(
        f"{mock.url}/mock/activities",
        json={"athlete_id": ATHLETE, "sport_type": "Ride", "silent": True},
        timeout=PATIENCE_SECONDS,
    ).json()["id"]
    assert deliver(f"http://127.0.0.1:{settings.bridge_port}", settings.signing_secrets()[0], ATHLETE, ride)

    def analysed() -> list[int]:
        with engine.connect() as connection:
            return list(connection.execute(select(route_analyses.c.activity_id)).scalars())

    eventually(lambda: analysed() == [ride], "the figures of the ride")
    asked = wish_for(engine, athlete_id=ATHLETE)
    job = NAMES.job(Job.NEWEST_MONTH)
    newest = f"SELECT status FROM runs WHERE pipeline_name = '{job}'"  # noqa: S608  a constant
    eventually(lambda: ("STARTED",) in found(dagsters_database, newest), "a run of the newest month")
    assert wish(engine, asked).doing == "newest_month"
    assert states()["QUEUED"] == len(MONTHS) - slots
