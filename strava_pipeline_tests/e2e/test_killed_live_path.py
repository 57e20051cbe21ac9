"""kill -9 of the bridge and of runs, at named points: what was acknowledged takes effect, and once."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, func, select

from strava_pipeline.access import open_tokens
from strava_pipeline.local.supervisor import free_port
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.warehouse.analysis_tables import route_analyses
from strava_pipeline.warehouse.ops_tables import webhook_events
from strava_pipeline.warehouse.tables import activities
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.e2e.run_launcher import RunLauncher, run_launcher
from strava_pipeline_tests.e2e.victim import BRIDGE_POINTS, RUN_POINTS

PATIENCE_SECONDS = 200
LOOK_SECONDS = 0.05
LEASE_SECONDS = "3"
OK = 200


class LivePath:
    """Mock Strava, the bridge's process, and runs in processes of their own."""

    def __init__(self, settings: Settings, engine: Engine, mock_url: str, launcher: RunLauncher) -> None:
        self.settings, self.engine, self.mock_url, self.launcher = settings, engine, mock_url, launcher
        self.bridge: subprocess.Popen[bytes] | None = None
        athlete = requests.get(f"{mock_url}/mock/athletes", timeout=30).json()[0]
        self.athlete_id = int(athlete["id"])
        tokens = open_tokens(settings, engine)
        scopes = ["read", "activity:read_all"]
        with new_session() as session:
            tokens.exchanged(lambda: oauth.exchange_code(settings, session, athlete["code"]), scopes)

    def start_bridge(self, dies_at: str = "") -> None:
        self.bridge = self.launcher.victim("bridge", dies_at=dies_at)
        wait_for(self._answers, "a bridge that answers")

    def stop_bridge(self) -> None:
        if self.bridge is not None:
            self.bridge.kill()
            self.bridge.wait()

    def ride(self) -> int:
        """Somebody rides, and Strava delivers that until it is acknowledged or the bridge is gone."""
        fields = {"athlete_id": self.athlete_id, "sport_type": "Ride", "silent": True}
        return int(requests.post(f"{self.mock_url}/mock/activities", json=fields, timeout=30).json()["id"])

    def deliver(self, activity_id: int) -> bool:
        """Whether a delivery is acknowledged."""
        event = {
            "object_type": "activity",
            "object_id": activity_id,
            "aspect_type": "create",
            "updates": {},
            "owner_id": self.athlete_id,
            "subscription_id": 1,
            "event_time": activity_id % 10**9,
        }
        body, timestamp = json.dumps(event).encode(), str(int(time.time()))
        secret = self.settings.signing_secrets()[0]
        signature = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"X-Strava-Signature": f"t={timestamp},v1={signature}"}
        try:
            answer = requests.post(self._url("/webhooks/strava"), data=body, headers=headers, timeout=30)
        except requests.ConnectionError:
            return False
        return answer.status_code == OK

    def open_events(self) -> int:
        with self.engine.connect() as connection:
            query = select(func.count()).select_from(webhook_events).where(webhook_events.c.state != "done")
            return connection.execute(query).scalar_one()

    def assert_everything_took_effect_once(self, wanted: list[int]) -> None:
        wait_for(lambda: self.open_events() == 0, "an empty inbox")
        with self.engine.connect() as connection:
            events = sorted(connection.execute(select(webhook_events.c.object_id)).scalars())
            stored = sorted(connection.execute(select(activities.c.id)).scalars())
            analysed = sorted(connection.execute(select(route_analyses.c.activity_id)).scalars())
        assert events == stored == analysed == sorted(wanted)

    def _answers(self) -> bool:
        try:
            return requests.get(self._url("/health/live"), timeout=5).status_code == OK
        except requests.ConnectionError:
            return False

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.settings.bridge_port}{path}"


@pytest.fixture
def live_path(
    installation: Installation,
    start_mock: Callable[..., Mock],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LivePath]:
    mock = start_mock("--months", "1")
    environment = installation.environment | {
        "STRAVA_HOME": str(installation.home),
        "STRAVA_BRIDGE_PORT": str(free_port()),
        "VICTIM_LEASE_SECONDS": LEASE_SECONDS,
    }
    with run_launcher(environment) as (launcher, url):
        environment["DAGSTER_WEBSERVER_URL"] = url
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        path = LivePath(load_settings(), engine, mock.url, launcher)
        yield path
        path.stop_bridge()


def wait_for(look: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(LOOK_SECONDS)


def test_a_run_may_be_killed_anywhere(live_path: LivePath) -> None:
    live_path.start_bridge()
    live_path.launcher.dies_at = list(RUN_POINTS)
    rides = []
    for number in range(len(RUN_POINTS)):
        rides.append(live_path.ride())
        assert live_path.deliver(rides[-1])
        # One run each.
        wait_for(lambda: len(live_path.launcher.runs) > number, "a launch")  # noqa: B023  called at once
    live_path.assert_everything_took_effect_once(rides)
    assert live_path.launcher.dies_at == []


def test_a_bridge_may_be_killed_anywhere(live_path: LivePath) -> None:
    rides = []
    for point in BRIDGE_POINTS:
        live_path.start_bridge(dies_at=point)
        rides.append(live_path.ride())
        acknowledged = live_path.deliver(rides[-1])
        bridge = live_path.bridge
        assert bridge is not None
        wait_for(lambda: bridge.poll() is not None, f"the end at: {point}")  # noqa: B023  called at once
        live_path.start_bridge()
        if not acknowledged:
            assert live_path.deliver(rides[-1])
        wait_for(lambda: live_path.open_events() == 0, f"an empty inbox after: {point}")
        live_path.stop_bridge()
    live_path.assert_everything_took_effect_once(rides)
