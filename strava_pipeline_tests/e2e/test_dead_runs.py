"""Months started in Dagster's UI die with everything: their runs are ended before anything is served again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine

from strava_pipeline.defs.pools import USUAL_RUNS, Pools
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.months import add_months
from strava_pipeline.names import HISTORY_ASSETS, PARTITION_TAG
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.states import MadeBy
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.e2e.conftest import Installation, Mock, kill_up, start_up, stop_up
from strava_pipeline_tests.e2e.test_backfill_interrupted import counts, found
from strava_pipeline_tests.e2e.test_outage import set_faults
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.warm_processes import WarmProcess
from strava_pipeline_tests.wishes import is_whole, wish_for
from webhook_bridge.dagster_api import launch_assets
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

pytestmark = pytest.mark.long

ATHLETE = CYCLIST.athlete_id
# As many as there are slots: while dead runs hold these, no month is imported.
MONTHS = Pools.of_runs(NAMES, USUAL_RUNS).slots[NAMES.pool]
# A month takes minutes then.
SLOW = {"path": "/api/v3/activities/*", "fault": "delay", "delay_s": 5.0, "times": None}
IMPORT_SECONDS = 900


@dataclass
class Site:
    """Everything that ``up`` runs, with one connected athlete, and the runs that were launched as in the UI."""

    installation: Installation
    mock: Mock
    up: WarmProcess
    launched: set[str] = field(default_factory=set)

    def launch(self, months: list[date]) -> None:
        """Launch a run for each month, as the UI does: with a partition and nothing else."""
        dagster = DagsterServer.from_settings(load_settings())
        partitions = [{PARTITION_TAG: f"{ATHLETE}|{month}"} for month in months]
        self.launched = {launch_assets(dagster, find_place(dagster), HISTORY_ASSETS, tags) for tags in partitions}

    def states(self) -> Counter[str]:
        """How many of the launched runs Dagster sees in each state."""
        rows = found(self.installation.environment["DAGSTER_POSTGRES_URL"], "SELECT run_id, status FROM runs")
        return Counter(status for run_id, status in rows if run_id in self.launched)

    def are_at_work(self) -> bool:
        """Whether all launched runs show that they live."""
        living = f"SELECT run_id FROM run_tags WHERE key = '{NAMES.process_tag}'"  # noqa: S608  a constant
        rows = found(self.installation.environment["DAGSTER_POSTGRES_URL"], living)
        return self.states() == {"STARTED": MONTHS} and self.launched <= {run_id for (run_id,) in rows}


@pytest.fixture
def site(
    installation: Installation, start_mock: Callable[..., Mock], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    mock = start_mock("--months", str(MONTHS))
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    set_faults(mock, SLOW)
    site = Site(installation, mock, start_up(installation))
    yield site
    stop_up(site.up)


def test_months_of_the_ui_that_died_with_everything_are_ended_first_and_are_imported(
    site: Site, engine: Engine
) -> None:
    this = datetime.now(UTC).date()
    months = [add_months(this, -back) for back in reversed(range(MONTHS))]
    site.launch(months)
    eventually(site.are_at_work, "a run at work in each slot")
    kill_up(site.up)
    assert site.states() == {"STARTED": MONTHS}

    set_faults(site.mock)
    site.up = start_up(site.installation)
    assert site.states() == {"FAILURE": MONTHS}
    asked = wish_for(engine, months[0], months[-1], athlete_id=ATHLETE, by=MadeBy.COMMAND)
    eventually(lambda: is_whole(engine, asked), "an import in which nothing lacks", IMPORT_SECONDS)
    listed, detailed, streamed = counts(site.installation)
    assert listed == detailed == streamed > 20
