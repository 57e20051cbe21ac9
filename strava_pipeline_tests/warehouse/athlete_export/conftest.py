from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline_tests.conftest import TOKEN_KEY, new_database, opened
from strava_pipeline_tests.warehouse.athlete_export.exports import export, whole_athletes


@pytest.fixture(scope="module")
def whole(server: Server, template: str) -> Iterator[Engine]:
    """A database with two whole athletes, for all tests of a module, which do not change it."""
    with new_database(server, template) as name, opened(server.url(name, Login.PIPELINE)) as engine:
        whole_athletes(engine, Keyring.parse(TOKEN_KEY))
        yield engine


@pytest.fixture(scope="module")
def empty(server: Server, template: str) -> Iterator[Engine]:
    """A database without rows, for all tests of a module, which leave it so."""
    with new_database(server, template) as name, opened(server.url(name, Login.PIPELINE)) as engine:
        yield engine


@pytest.fixture(scope="module")
def copy(whole: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the rider, which the tests do not change."""
    target = tmp_path_factory.mktemp("export") / "copy"
    export(whole, target)
    return target
