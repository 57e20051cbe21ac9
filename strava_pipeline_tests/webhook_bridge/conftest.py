"""The bridge as it is served, and an athlete whose deliveries it takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, insert

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline_tests.webhook_bridge.deliveries import RIDER

PATIENCE_SECONDS = 30


@pytest.fixture
def rider(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))


@pytest.fixture
def bridge(settings: Settings, rider: None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The bridge as it is served, with its port."""
    command = [sys.executable, "-m", "strava_pipeline", "bridge", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.startswith("bridge listening on http://127.0.0.1:")
        yield process, int(told.rsplit(":", 1)[1])
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
