"""A token store with one athlete connected, and a server that answers as OAuth's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.warehouse.tokens.connected_store import connected


@pytest.fixture
def store(engine: Engine, keyring: Keyring) -> PostgresTokenStore:
    return connected(engine, keyring)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback
