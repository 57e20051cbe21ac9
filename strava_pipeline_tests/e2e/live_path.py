"""The live path in processes of its own: the bridge, and runs by a stand-in for Dagster."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import requests
from sqlalchemy import Engine, func, select, update

from strava_pipeline.settings import Settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.e2e.run_launcher import RunLauncher
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.inbox import LONG_AGO
from strava_pipeline_tests.warm_processes import WarmProcess

OK, BUSY = 200, 503
STRAVAS_ATTEMPTS = 3


def deliver(
    bridge: str,
    secret: bytes,
    athlete_id: int,
    activity_id: int,
    aspect: str = "create",
    number: int = 0,
    *,
    subscription_id: int = 1,
) -> bool:
    """Whether the bridge acknowledges an event about an activity, signed as Strava does.

    What a busy bridge refuses with 503 is delivered again, three times in all, as by Strava.
    """
    event = {
        "object_type": "activity",
        "object_id": activity_id,
        "aspect_type": aspect,
        "updates": {},
        "owner_id": athlete_id,
        "subscription_id": subscription_id,
        "event_time": 10**9 + number,
    }
    body, timestamp = json.dumps(event).encode(), str(int(time.time()))
    signature = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-Strava-Signature": f"t={timestamp},v1={signature}"}
    for _ in range(STRAVAS_ATTEMPTS):
        try:
            answer = requests.post(f"{bridge}/webhooks/strava", data=body, headers=headers, timeout=PATIENCE_SECONDS)
        except requests.RequestException:
            return False
        if answer.status_code != BUSY:
            return answer.status_code == OK
    return False


class LivePath:
    """Mock Strava, the bridge's process, and runs in processes of their own."""

    def __init__(self, settings: Settings, engine: Engine, mock_url: str, launcher: RunLauncher) -> None:
        self.settings, self.engine, self.mock_url, self.launcher = settings, engine, mock_url, launcher
        self.bridge: WarmProcess | None = None
        athlete = requests.get(f"{mock_url}/mock/athletes", timeout=PATIENCE_SECONDS).json()[0]
        self.athlete_id = int(athlete["id"])
        tokens = open_tokens(settings, engine)
        scopes = ["read", "activity:read_all"]
        with new_session() as session:
            tokens.store_exchange(lambda: oauth.exchange_code(settings, session, athlete["code"]), scopes)

    def start_bridge(self, dies_at: str = "") -> None:
        self.bridge = self.launcher.victim("bridge", dies_at=dies_at)
        eventually(self._answers, "a bridge that answers")

    def stop_bridge(self) -> None:
        """Kill -9, if there is one."""
        if self.bridge is not None:
            self.bridge.kill()
            self.bridge.wait()

    def ride(self) -> int:
        """Somebody rides, and Strava tells nobody yet; the activity's id."""
        fields = {"athlete_id": self.athlete_id, "sport_type": "Ride", "silent": True}
        return int(
            requests.post(f"{self.mock_url}/mock/activities", json=fields, timeout=PATIENCE_SECONDS).json()["id"]
        )

    def deliver(self, activity_id: int, aspect: str = "create", number: int = 0) -> bool:
        """Whether a delivery is acknowledged; events of one aspect differ by their ``number``."""
        secret = self.settings.signing_secrets()[0]
        return deliver(self._url(""), secret, self.athlete_id, activity_id, aspect, number)

    def let_leases_end(self) -> None:
        """Let the time pass after which claims that nobody is at any more are taken over."""
        with self.engine.begin() as connection:
            held = webhook_events.c.lease_until.is_not(None)
            connection.execute(update(webhook_events).where(held).values(lease_until=LONG_AGO))

    def open_events(self) -> int:
        with self.engine.connect() as connection:
            query = select(func.count()).select_from(webhook_events).where(webhook_events.c.state != "done")
            return connection.execute(query).scalar_one()

    def assert_everything_took_effect_once(self, wanted: list[int]) -> None:
        eventually(lambda: self.open_events() == 0, "an empty inbox")
        with self.engine.connect() as connection:
            events = sorted(connection.execute(select(webhook_events.c.object_id)).scalars())
            stored = sorted(connection.execute(select(activities.c.id)).scalars())
            analysed = sorted(connection.execute(select(route_analyses.c.activity_id)).scalars())
        assert events == stored == analysed == sorted(wanted)

    def _answers(self) -> bool:
        try:
            return requests.get(self._url("/health/live"), timeout=5).status_code == OK
        except requests.RequestException:
            return False

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.settings.bridge_port}{path}"
