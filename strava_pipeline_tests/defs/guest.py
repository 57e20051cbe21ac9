"""Real definitions in a host's Dagster, within the test's process; Strava is a mock over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import requests
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from sqlalchemy import Engine, text

from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.athletes import cyclist_body
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.names import Names, partition_key
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.sync.access import open_tokens
from strava_pipeline_tests.dagster_graphql_server import dagster_graphql
from strava_pipeline_tests.defs import guest_locations
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.served_apps import served

RIDER = 71
MODULE = guest_locations.__name__
SCOPES = ["read", "activity:read_all"]


@dataclass
class Guest:
    """What a host has of us: a code location, and the tables of its own.

    ``variables``: what its bridge and its runs have in their environment.
    """

    names: Names
    location: str
    made: Callable[[], dg.Definitions]
    engine: Engine
    instance: dg.DagsterInstance
    mock: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def settings(self) -> Settings:
        """The settings of its bridge."""
        with patch.dict(os.environ, self.variables):
            return load_settings()

    def connect(self, rider: int = RIDER) -> None:
        """Connect an athlete to this app."""
        settings = self.settings()
        code = _code(self.mock, settings, rider)
        with new_session() as session:
            exchange = partial(oauth.exchange_code, settings, session, code)
            open_tokens(settings, self.engine).store_exchange(exchange, SCOPES)
        self.instance.add_dynamic_partitions(self.names.partition_set, [str(rider)])

    def key(self, asset: str) -> dg.AssetKey:
        return dg.AssetKey(self.names.asset_path(asset))

    def materialized(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(self.key(asset))

    def execute_launched(self) -> str:
        """Take the one run that was launched out of Dagster's queue, and execute it; returns the name of its job."""
        (run,) = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
        self.instance.delete_run(run.run_id)
        job = self.made().resolve_job_def(run.job_name)
        assert job.execute_in_process(instance=self.instance, run_config=run.run_config, tags=run.tags).success
        return run.job_name

    def materialize(self, *assets: str, rider: int = RIDER) -> None:
        """Materialize assets of an athlete's current month."""
        job = self.made().resolve_implicit_global_asset_job_def()
        selection, key = [self.key(asset) for asset in assets], partition_key(rider, month())
        assert job.execute_in_process(instance=self.instance, asset_selection=selection, partition_key=key).success

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


def month() -> date:
    """The month of each ride (UTC)."""
    return _start().date()


def ride(mock: str, rider: int = RIDER) -> int:
    """An athlete rides, and Strava tells nobody; returns the activity's id."""
    told = {"athlete_id": rider, "sport_type": "Ride", "start_date": f"{_start():%Y-%m-%dT%H:%M:%SZ}", "silent": True}
    answer = requests.post(f"{mock}/mock/activities", json=told, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return int(answer.json()["id"])


@contextmanager
def strava(folder: Path, *riders: int) -> Iterator[str]:
    """The address of a mock Strava with athletes who have not ridden yet."""
    for rider in riders:
        home = folder / str(rider)
        home.mkdir(parents=True)
        (home / "athlete.json").write_text(json.dumps(cyclist_body() | {"id": rider, "bikes": [], "shoes": []}))
    app = create_mock(MockConfig(recordings=folder, short_limit=10_000, long_limit=10_000))
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def webserver(instance: dg.DagsterInstance, *locations: str) -> Iterator[str]:
    """The address of a webserver's GraphQL with code locations, each named as its function."""
    origins = [
        InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name=MODULE, attribute=name), location_name=name)
        for name in locations
    ]
    with dagster_graphql(instance, InProcessWorkspaceLoadTarget(origins)) as loopback:
        yield loopback.url


def _start() -> datetime:
    return datetime.now(UTC) - timedelta(hours=2)


def _code(mock: str, settings: Settings, rider: int) -> str:
    """An authorization code, as the athlete's browser gets it."""
    query = {"client_id": settings.required("client_id"), "redirect_uri": "http://localhost/", "athlete": str(rider)}
    more = {"response_type": "code", "scope": ",".join(SCOPES)}
    answer = requests.get(
        f"{mock}/oauth/authorize", params=query | more, allow_redirects=False, timeout=PATIENCE_SECONDS
    )
    return oauth.parse_redirect(answer.headers["Location"])[0]
