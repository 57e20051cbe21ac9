from __future__ import annotations

import pytest
from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.erasing import two_whole_athletes


@pytest.fixture
def store(engine: Engine, keyring: Keyring) -> PostgresTokenStore:
    """Two athletes are connected, each with two whole activities and events in every state."""
    return two_whole_athletes(engine, keyring)
