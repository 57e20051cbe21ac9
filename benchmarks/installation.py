"""Starts a whole installation for one benchmark: embedded Postgres, mock Strava, Dagster, the bridge, one athlete."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine

from strava_pipeline.cli.athletes import connect_athlete
from strava_pipeline.cli.instance import open_instance, prepare_dagster_environment
from strava_pipeline.cli.operator_token import new_token
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.code_server import new_code_server
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.postgres import Server, using_server
from strava_pipeline.local.services import (
    LOOPBACK,
    bridge_service,
    code_server_service,
    dagster_services,
    log_folder,
    mock_strava_service,
)
from strava_pipeline.local.supervisor import Service, Supervisor, find_free_port
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.settings_values import EMBEDDED
from strava_pipeline.strava.oauth import authorize_url
from strava_pipeline.warehouse.migrate import open_warehouse

TIMEOUT_SECONDS = 30
EMPTY_LOCATION = """\
  - python_module: {module_name: benchmarks.empty_location, location_name: benchmark, working_directory: %s}
"""


@dataclass(frozen=True)
class Installation:
    """A running installation, the athlete who is connected, and the supervisor of its processes."""

    settings: Settings
    engine: Engine
    mock_url: str
    athlete_id: int
    supervisor: Supervisor
    services: Mapping[str, Service]

    def new_activity(self) -> int:
        """Add an activity at the mock Strava, without a webhook event; return its id."""
        fields = {"athlete_id": self.athlete_id, "sport_type": "Ride", "silent": True}
        added = requests.post(f"{self.mock_url}/mock/activities", json=fields, timeout=TIMEOUT_SECONDS)
        added.raise_for_status()
        return int(added.json()["id"])

    def event(self, activity_id: int, aspect: str, **more: Any) -> dict[str, Any]:
        """Return an event as Strava delivers it; ``more`` replaces fields."""
        return {
            "object_type": "activity",
            "object_id": activity_id,
            "aspect_type": aspect,
            "updates": {},
            "owner_id": self.athlete_id,
            "subscription_id": 1,
            "event_time": int(time.time()),
        } | more

    def deliver(self, session: requests.Session, event: Mapping[str, Any]) -> int:
        """Deliver a signed event to the bridge; return the status of the answer."""
        body = json.dumps(event).encode()
        timestamp = str(int(time.time()))
        secret = self.settings.signing_secrets()[0]
        signature = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Strava-Signature": f"t={timestamp},v1={signature}"}
        url = f"http://{LOOPBACK}:{self.settings.bridge_port}/webhooks/strava"
        return session.post(url, data=body, headers=headers, timeout=TIMEOUT_SECONDS).status_code

    def calls(self) -> list[dict[str, Any]]:
        """Return the requests that the mock Strava has received."""
        answer = requests.get(f"{self.mock_url}/mock/calls", timeout=TIMEOUT_SECONDS).json()
        found: list[dict[str, Any]] = answer["calls"]
        return found


@contextmanager
def installed(before_start: Callable[[Settings, Server], None] = lambda _, __: None) -> Iterator[Installation]:
    """Yield an installation whose services all answer; afterwards, end them and delete their data.

    ``before_start`` is called once the tables and Dagster's storage are there.
    """
    home = Path(tempfile.mkdtemp(prefix="strava-pipeline-benchmark-"))
    settings = new_settings(home)
    mock_port = int(settings.api_url.split(":")[2].split("/")[0])
    try:
        with (
            using_server(home) as postgres,
            open_listener(LOOPBACK, int(settings.dagster_webserver_url.rsplit(":", 1)[1]), "Dagster") as for_dagster,
            open_listener(LOOPBACK, settings.bridge_port, "the bridge") as for_bridge,
            Supervisor() as supervisor,
            open_warehouse(settings) as engine,
        ):
            environment = prepare_dagster_environment(settings)
            # Makes Dagster's tables: webserver and daemon, which start at once, could meet while each makes them.
            with open_instance(settings):
                before_start(settings, postgres)
            server = new_code_server(home)
            with server.workspace.open("a", encoding="utf-8") as workspace:
                # The benchmark's own code location, beside the product's.
                workspace.write(EMPTY_LOCATION % json.dumps(str(Path(__file__).parents[1])))
            services = [
                mock_strava_service(home, mock_port, {}),
                code_server_service(home, server, environment),
                bridge_service(home, for_bridge, environment),
                *dagster_services(home, for_dagster, server.workspace, environment),
            ]
            for service in services:
                supervisor.start(service)
                supervisor.wait_until_ready()
            mock_url = f"http://{LOOPBACK}:{mock_port}"
            athlete_id = _connect(settings, engine, mock_url)
            named = {service.name: service for service in services}
            yield Installation(settings, engine, mock_url, athlete_id, supervisor, named)
    finally:
        shutil.rmtree(home)


def new_settings(home: Path) -> Settings:
    """Return settings for this process and all that it starts; variables of a real installation are removed."""
    for name in [name for name in os.environ if name.startswith(("STRAVA_", "DAGSTER_"))]:
        del os.environ[name]
    # With it, every run would compile the package again; an installed package is compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    mock = f"http://{LOOPBACK}:{find_free_port()}"
    os.environ |= {
        "STRAVA_HOME": str(home),
        "STRAVA_DATABASE_URL": EMBEDDED,
        "STRAVA_DATA_IN_HOME": "true",
        "STRAVA_API_URL": f"{mock}/api/v3",
        "STRAVA_OAUTH_URL": f"{mock}/oauth",
        "STRAVA_CLIENT_ID": "1",
        "STRAVA_CLIENT_SECRET": secrets.token_hex(20),
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_OPERATOR_TOKEN": new_token(),
        # With Strava's own limits, a benchmark would stop after a hundred requests.
        "STRAVA_QUOTA_SHORT_LIMIT": "5000",
        "STRAVA_QUOTA_LONG_LIMIT": "50000",
        "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify",
        "STRAVA_WEBHOOK_SIGNING_SECRETS": secrets.token_hex(20),
        "STRAVA_WEBHOOK_SUBSCRIPTION_ID": "1",
        "STRAVA_BRIDGE_PORT": str(find_free_port()),
        "DAGSTER_WEBSERVER_URL": f"http://{LOOPBACK}:{find_free_port()}",
    }
    return load_settings()


def _connect(settings: Settings, engine: Engine, mock_url: str) -> int:
    athletes = requests.get(f"{mock_url}/mock/athletes", timeout=TIMEOUT_SECONDS).json()
    athlete_id = int(athletes[0]["id"])
    consent = f"{authorize_url(settings)}&athlete={athlete_id}"
    redirect = requests.get(consent, allow_redirects=False, timeout=TIMEOUT_SECONDS)
    return connect_athlete(settings, engine, redirect.headers["Location"])


def log_of(installation: Installation, name: str) -> Path:
    """Return the path of a service's log."""
    return log_folder(installation.settings.home) / f"{name}.log"
