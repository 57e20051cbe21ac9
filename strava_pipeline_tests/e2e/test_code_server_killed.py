"""The code server is killed under everything that `up` runs: it is started again, and all else stays and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from sqlalchemy import Engine, select

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.names import PARTITION_TAG, Asset
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.e2e.conftest import Installation, Mock, start_up, stop_up
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.e2e.test_backfill_interrupted import found as rows
from strava_pipeline_tests.e2e.test_outage import leave_no_upkeep, months, set_faults
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.warm_processes import WarmProcess
from strava_pipeline_tests.wishes import is_whole, wish, wish_for
from webhook_bridge.dagster_api import launch_assets
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

pytestmark = pytest.mark.long

ATHLETE = CYCLIST.athlete_id
# With the activities of a whole month, which the newest one has not on its first days, a run takes a while.
SLOW = {"path": "/api/v3/activities/*", "fault": "delay", "delay_s": 2.0, "times": None}
IMPORT_SECONDS = 900


@dataclass(frozen=True)
class Site:
    """Everything that `up` runs, with one connected athlete."""

    installation: Installation
    mock: Mock
    up: WarmProcess

    def services(self) -> dict[str, psutil.Process]:
        """The processes that `up` has started, by a word of their command."""
        words = ("code-server", "dagster-webserver", "dagster-daemon", "bridge")
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.up.pid).children():
            # One that has just ended has no command any more.
            with suppress(psutil.NoSuchProcess):
                parts = {Path(part).name for part in child.cmdline()}
                found |= {word: child for word in words if word in parts}
        return found

    def code_server(self) -> psutil.Process:
        return self.services()["code-server"]

    def runs(self) -> list[psutil.Process]:
        """The processes of runs at work."""
        children = self.code_server().children()
        return [run for child in children if "forkserver" in " ".join(child.cmdline()) for run in child.children()]

    def state_of(self, run_id: str) -> str:
        query = f"SELECT status FROM runs WHERE run_id = '{run_id}'"  # noqa: S608  Dagster's own id
        ((state,),) = rows(self.installation.environment["DAGSTER_POSTGRES_URL"], query)
        return str(state)


@pytest.fixture
def site(
    installation: Installation, start_mock: Callable[..., Mock], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    mock = start_mock("--months", "2")
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    leave_no_upkeep(installation)
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    set_faults(mock, SLOW)
    up = start_up(installation)
    yield Site(installation, mock, up)
    stop_up(up)


def test_a_webhook_after_it_is_worked_off_and_a_run_that_died_with_it_is_taken_over(site: Site, engine: Engine) -> None:
    before = site.services()
    asked = wish_for(engine, athlete_id=ATHLETE)
    eventually(lambda: wish(engine, asked).run_id and site.runs(), "a run of the import")
    killed = [site.code_server(), *site.runs()]
    for process in killed:
        process.kill()
    set_faults(site.mock)

    settings = load_settings()
    ride = requests.post(
        f"{site.mock.url}/mock/activities",
        json={"athlete_id": ATHLETE, "sport_type": "Ride", "silent": True},
        timeout=PATIENCE_SECONDS,
    ).json()["id"]
    assert deliver(f"http://127.0.0.1:{settings.bridge_port}", settings.signing_secrets()[0], ATHLETE, ride)

    def analysed() -> list[int]:
        with engine.connect() as connection:
            return list(connection.execute(select(route_analyses.c.activity_id)).scalars())

    eventually(lambda: ride in analysed(), "the figures of the ride")
    eventually(lambda: is_whole(engine, asked), "an import in which nothing lacks", IMPORT_SECONDS)
    after = site.services()
    assert after.pop("code-server") != before.pop("code-server")
    assert after == before


def test_a_run_at_work_goes_on_without_it_and_ends_with_everything(site: Site) -> None:
    dagster = DagsterServer.from_settings(load_settings())
    past = f"{ATHLETE}|{months()[0]}"
    first = launch_assets(dagster, find_place(dagster), [Asset.ACTIVITIES, Asset.DETAILS], {PARTITION_TAG: past})
    eventually(lambda: process_of(site, first), "a run at work")
    assert process_of(site, first) in site.runs()
    site.code_server().kill()
    eventually(lambda: "code-server" in site.services() and site.state_of(first) == "SUCCESS", "its success")

    second = launch_assets(dagster, find_place(dagster), [Asset.STREAMS], {PARTITION_TAG: past})
    eventually(lambda: process_of(site, second), "another run at work")
    # A schedule may have begun one more.
    left = site.runs()
    assert process_of(site, second) in left
    site.code_server().kill()
    eventually(lambda: "code-server" in site.services(), "a new code server")
    stop_up(site.up)
    assert psutil.wait_procs(left, timeout=0)[1] == []


def test_runs_are_forked_anew_once_what_they_are_forked_from_is_killed(site: Site, engine: Engine) -> None:
    dagster = DagsterServer.from_settings(load_settings())
    past = f"{ATHLETE}|{months()[0]}"
    first = launch_assets(dagster, find_place(dagster), [Asset.ACTIVITIES, Asset.DETAILS], {PARTITION_TAG: past})
    run = eventually(lambda: process_of(site, first), "a run at work")
    assert run is not None
    source = run.parent()
    assert source is not None
    source.kill()
    # Dagster cannot know how it ends any more; it ends by itself.
    eventually(lambda: site.state_of(first) in {"FAILURE", "SUCCESS"} and not run.is_running(), "the end of the run")

    set_faults(site.mock)
    second = launch_assets(dagster, find_place(dagster), [Asset.STREAMS], {PARTITION_TAG: past})
    eventually(lambda: site.state_of(second) == "SUCCESS", "the success of a run that was forked anew")
    asked = wish_for(engine, athlete_id=ATHLETE)
    eventually(lambda: is_whole(engine, asked), "an import in which nothing lacks", IMPORT_SECONDS)


def process_of(site: Site, run_id: str) -> psutil.Process | None:
    """The process of a run, once the run shows that it lives."""
    living = f"SELECT value FROM run_tags WHERE run_id = '{run_id}' AND key = '{NAMES.process_tag}'"  # noqa: S608  as above
    told = rows(site.installation.environment["DAGSTER_POSTGRES_URL"], living)
    return psutil.Process(int(told[0][0].split()[-2])) if told else None
