"""The bridge as it is served, and an athlete whose deliveries it takes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, insert

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.deliveries import RIDER
from webhook_bridge import dagster_server, intake
from webhook_bridge import dispatcher as dispatching


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine refuses no delivery, and waits for Dagster, in tests that are about something else."""
    monkeypatch.setattr(intake, "STORE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(dagster_server, "TIMEOUT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def rider(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))


@pytest.fixture
def bridge(settings: Settings, rider: None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The bridge as it is served, with its port; it takes its time."""
    with subprocess.Popen(
        PATIENT_BRIDGE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.startswith("bridge listening on http://127.0.0.1:")
        yield process, int(told.rsplit(":", 1)[1])
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def dagster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterStandIn]:
    """A Dagster for the dispatcher, at the address of the settings."""
    stand_in = DagsterStandIn()
    with PlacedLoopback() as loopback:
        loopback.answer = stand_in.answer
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield stand_in


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dispatchers look, and try again, at once."""
    monkeypatch.setattr(dispatching, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(dispatching, "LONGEST_BACKOFF_SECONDS", 0.02)
