"""Runs of the code location with a stand-in for Strava and a real database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, make_url

from strava_pipeline.defs import dead_runs, signs_of_life
from strava_pipeline.defs.io_manager import StravaIOManager
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.defs.plan import IO_MANAGER
from strava_pipeline.defs.resources import MailerResource, StravaResource, WarehouseResource
from strava_pipeline.local.dagster_home import INSTANCE_FILE, shipped_file
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SyncContext
from strava_pipeline_tests.defs.own_definitions import NAMES, key_of
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

# So many looks make a run dead: a tick takes its time.
LOOKS = 3


@dataclass
class CodeLocation:
    """An instance, its resources, and the lanes in which Strava was used; ``first``: whether before other backfills."""

    instance: dg.DagsterInstance
    strava: StravaStandIn
    lanes: list[Lane] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    syncs: list[SyncContext] = field(default_factory=list)
    max_waits: list[timedelta | None] = field(default_factory=list)

    def resources(self) -> dict[str, Any]:
        strava, lanes, first, syncs, max_waits = self.strava, self.lanes, self.first, self.syncs, self.max_waits

        class StandIn(StravaResource):
            def sync(
                self,
                lane: Lane,
                *,
                goes_first: bool = False,
                max_wait: timedelta | None = None,
            ) -> SyncContext:
                lanes.append(lane)
                first.append(goes_first)
                max_waits.append(max_wait)
                # Within a run Dagster has put the resource itself there.
                assert isinstance(self.warehouse, WarehouseResource)
                syncs.append(strava.sync(self.warehouse.engine))
                return syncs[-1]

        warehouse = WarehouseResource(is_own=True)
        return {
            "strava_warehouse": warehouse,
            "strava_client": StandIn(warehouse=warehouse),
            "strava_mailer": MailerResource(warehouse=warehouse),
            IO_MANAGER: StravaIOManager(warehouse=warehouse),
        }

    def materialize(
        self, *assets: dg.AssetsDefinition | dg.AssetChecksDefinition, **how: Any
    ) -> dg.ExecuteInProcessResult:
        """A run of assets, recorded whether it succeeds or not."""
        return dg.materialize(
            list(assets), instance=self.instance, resources=self.resources(), raise_on_error=False, **how
        )

    def materialized(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(key_of(asset))


@dataclass
class Clock:
    """The clock of whoever looks at runs: it goes on when a test says so."""

    now: float = 1_000_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def one_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's storage in memory locks its tables against a second thread: no run here shows further signs."""
    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", 3600.0)


@pytest.fixture
def location(settings: Settings, engine: Engine) -> Iterator[CodeLocation]:
    with dg.DagsterInstance.ephemeral() as instance:
        register_athlete(instance, NAMES, RIDER)
        yield CodeLocation(instance, StravaStandIn())


@pytest.fixture
def persistent() -> Iterator[dg.DagsterInstance]:
    """An instance that a schedule can open, with the run retries of our ``dagster.yaml``; runs start no process."""
    no_logs = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    retries = {"enabled": True, "max_retries": 3}
    with dg.instance_for_test(overrides={"run_retries": retries, "compute_logs": no_logs}) as instance:
        yield instance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of :mod:`.dead_runs`, which takes a run for dead after ``LOOKS`` looks."""
    clock = Clock()
    monkeypatch.setattr(dead_runs, "time", clock)
    monkeypatch.setattr(dead_runs, "LOOKS", LOOKS)
    return clock


@pytest.fixture
def instance(dagster_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """As every process of `up` opens it."""
    address = make_url(dagster_database).set(drivername="postgresql+psycopg2")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", address.render_as_string(hide_password=False))
    shutil.copy(shipped_file(INSTANCE_FILE), tmp_path / INSTANCE_FILE)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance
