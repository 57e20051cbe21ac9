"""A mock Strava with made-up athletes and a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline_tests.mock_strava.callers import APP, Caller, Clock, connect, mock_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_client(clock: Clock) -> Iterator[Callable[..., FlaskClient]]:
    """Makes mocks; the app's credentials are set, anything else by keyword."""
    clients: list[FlaskClient] = []

    def make(**config: Any) -> FlaskClient:
        client = create_mock(MockConfig(**{**APP, "delivery_gap_s": 0.0, **config}), clock).test_client()
        clients.append(client)
        return client

    yield make
    for client in clients:
        mock_of(client).deliveries.stop()


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client()


@pytest.fixture
def cyclist(client: FlaskClient) -> Caller:
    """The cyclist, who has allowed everything."""
    return connect(client, CYCLIST.athlete_id)
