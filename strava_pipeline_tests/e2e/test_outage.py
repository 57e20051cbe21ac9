"""Strava answers nobody in the midst of two backfills, of the command and of Dagster's UI: both wait, and end well.

So does the event of a webhook.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine

from strava_pipeline.mock_strava.athletes import CYCLIST, RUNNER
from strava_pipeline.names import Asset
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.e2e.test_backfill_interrupted import found, run_states
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ui_backfill import launch_backfill
from strava_pipeline_tests.upkeeping import only
from strava_pipeline_tests.warm_processes import WarmProcess

ASSETS = (Asset.ACTIVITIES, Asset.DETAILS, Asset.STREAMS)
# A backfill without patience would give up within forty seconds.
OUTAGE_SECONDS = 60
SLOW = {"path": "/api/v3/activities/*", "fault": "delay", "delay_s": 0.5, "times": None}
UNAVAILABLE = {"path": "/api/v3/*", "fault": "status", "status": 503, "times": None}
RESET = {"path": "/api/v3/*", "fault": "reset", "times": None}


def months() -> list[date]:
    """This month and the one before."""
    this = datetime.now(UTC).date().replace(day=1)
    return [(this - timedelta(days=1)).replace(day=1), this]


def set_faults(mock: Mock, *faults: dict[str, Any]) -> None:
    requests.delete(f"{mock.url}/mock/faults", timeout=PATIENCE_SECONDS).raise_for_status()
    requests.post(f"{mock.url}/mock/faults", json=list(faults), timeout=PATIENCE_SECONDS).raise_for_status()


def answered(mock: Mock, athlete_id: int) -> Counter[str]:
    """How often each path of an athlete's activities was asked for and answered."""
    calls = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["calls"]
    return Counter(
        call["path"]
        for call in calls
        if call["athlete_id"] == athlete_id and "/activities/" in call["path"] and call["status"] == 200
    )


@pytest.fixture
def mock(installation: Installation, start_mock: Callable[..., Mock]) -> Iterator[Mock]:
    """A mock before which everything is up, with two connected athletes."""
    mock = start_mock("--months", "2")
    for athlete in (CYCLIST, RUNNER):
        installation.output("connect", "--code", mock.new_code(athlete.athlete_id))
    leave_no_upkeep(installation)
    with everything_up(installation):
        yield mock


def leave_no_upkeep(installation: Installation) -> None:
    """Upkeep has looked after everybody just now. Else it would list the newest rides while backfills fetch them."""
    engine = create_engine(parse_url(installation.environment["STRAVA_DATABASE_URL"], "the address"))
    with engine.begin() as connection:
        due.add_missing(connection)
    only(engine)
    engine.dispose()


@pytest.fixture
def under_way(installation: Installation, mock: Mock, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmProcess]:
    """The command, in the midst of its backfill of one athlete, while the other one's was begun in Dagster's UI."""
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    set_faults(mock, SLOW)
    partitions = [f"{RUNNER.athlete_id}|{month}" for month in months()]
    # As the UI does: without tags.
    launch_backfill(load_settings(), ASSETS, partitions)
    eventually(lambda: answered(mock, RUNNER.athlete_id), "a request of the UI's backfill")
    span = ("--from", f"{months()[0]:%Y-%m}", "--to", f"{months()[1]:%Y-%m}", "--assets", ",".join(ASSETS))
    process = installation.start("backfill", "--athlete", str(CYCLIST.athlete_id), *span)
    yield process
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)


def test_backfills_and_a_webhook_outlast_an_outage(
    installation: Installation, mock: Mock, under_way: WarmProcess
) -> None:
    database = installation.environment["STRAVA_DATABASE_URL"]

    def away_for(seconds: int) -> bool:
        rows = found(database, "SELECT extract(epoch FROM ops.clock() - away_since) FROM ops.outages")
        return any(age is not None and age > seconds for (age,) in rows)

    def wait_is_told() -> bool:
        query = "SELECT 1 FROM ops.job_progress WHERE waiting_for LIKE 'Strava does not answer since %'"
        return len(found(database, query)) == 2

    eventually(lambda: len(answered(mock, CYCLIST.athlete_id)) >= 3, "requests of the command's backfill")
    set_faults(mock, UNAVAILABLE)
    eventually(lambda: away_for(OUTAGE_SECONDS // 2), "an outage that is known to all")
    set_faults(mock, RESET)
    ride = {"athlete_id": CYCLIST.athlete_id, "sport_type": "Ride", "silent": True}
    number = requests.post(f"{mock.url}/mock/activities", json=ride, timeout=PATIENCE_SECONDS).json()["id"]
    settings = load_settings()
    bridge = f"http://127.0.0.1:{settings.bridge_port}"
    assert deliver(bridge, settings.signing_secrets()[0], CYCLIST.athlete_id, number)
    eventually(lambda: away_for(OUTAGE_SECONDS) and wait_is_told(), "two backfills that wait")
    assert under_way.poll() is None
    set_faults(mock)
    output, _ = under_way.communicate()
    assert under_way.returncode == 0, output
    event = "SELECT state, attempts, lost_runs FROM ops.webhook_events"
    eventually(lambda: found(database, event) == [("done", 0, 0)], "the event that waited")
    eventually(lambda: set(run_states(installation)) == {"SUCCESS"}, "the end of the UI's backfill")
    for athlete in (CYCLIST, RUNNER):
        times = answered(mock, athlete.athlete_id)
        assert len(times) > 10
        assert set(times.values()) == {1}, "no request for what is stored"
    lacking = (
        "SELECT count(*) FROM strava.activities a WHERE NOT EXISTS"
        " (SELECT 1 FROM ops.payloads p WHERE p.activity_id = a.id AND p.kind = 'detail')"
    )
    assert found(database, lacking) == [(0,)]
    logged = (
        "SELECT DISTINCT run_id FROM event_logs"
        " WHERE event LIKE '%waiting%Strava does not answer since %' AND event LIKE '%lane backfill%'"
    )
    assert len(found(installation.environment["DAGSTER_POSTGRES_URL"], logged)) == 2
