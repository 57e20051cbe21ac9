"""An import finishes whatever happens to its runs: killed, canceled, forgotten by Dagster, or ended with everything.

Nor does it matter that Dagster could not load the code location when the import was asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from sqlalchemy import Engine, make_url

from strava_pipeline.mock_strava.athletes import RUNNER
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.warehouse.imports.wishes import Import
from strava_pipeline_tests.conftest import opened
from strava_pipeline_tests.e2e.conftest import Installation, Mock, kill_up, start_up, stop_up
from strava_pipeline_tests.e2e.test_backfill_interrupted import counts, found
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.inbox import LONG_AGO
from strava_pipeline_tests.warm_processes import WarmProcess
from strava_pipeline_tests.wishes import change, hurried, is_whole, wish, wish_for
from webhook_bridge.dagster_server import DagsterServer, ask

ATHLETE = RUNNER.athlete_id
FINISHING_SECONDS = 900
SLOW = {"path": "/api/v3/activities/*", "fault": "delay", "delay_s": 2.0, "times": None}
CANCEL = """
mutation Cancel($params: String!) {
  answer: terminateRun(runId: $params) {
    __typename
    ... on Error { message }
  }
}
"""
# The process that serves the code location finds no code.
NOT_LOADING = """
import sys
if "code-server" in sys.orig_argv:
    sys.modules["strava_pipeline.definitions"] = None
"""
FORGET = ("DELETE FROM event_logs", "DELETE FROM run_tags", "DELETE FROM runs")


@dataclass
class Site:
    """Everything that ``up`` runs, with one connected athlete, and the athlete's import."""

    installation: Installation
    mock: Mock
    engine: Engine
    import_id: int
    up: list[WarmProcess] = field(default_factory=list)

    def start(self, **variables: str) -> None:
        self.up.append(start_up(self.installation, **variables))

    def kill(self) -> None:
        kill_up(self.up[-1])

    @property
    def wish(self) -> Import:
        return wish(self.engine, self.import_id)

    def at_work(self) -> list[Import]:
        """The import, if a run has it and activities were asked for; what it waits for until then comes at once."""
        now = hurried(self.engine, self.import_id)
        return [now] if now.state == "running" and now.run_id and self.asked() else []

    def next_run(self, before: Import) -> Import:
        """The import when another run is at work on it."""

        def look() -> list[Import]:
            return [now for now in self.at_work() if now.launch_no > before.launch_no]

        (now,) = eventually(look, "another run of the import")
        return now

    def is_refused(self) -> bool:
        """Whether the bridge could not launch the import, and lets it wait."""
        log = self.installation.home / "logs" / "bridge.log"
        return (
            "no code location of Dagster at " in log.read_text()
            and self.wish.launch_no > 0
            and self.wish.state == "due"
        )

    def lose(self) -> None:
        """Let the time pass after which a run without a sign of life is lost."""
        change(self.engine, self.import_id, lease_until=LONG_AGO)
        eventually(lambda: self.wish.state != "running", "that the lost run is noticed")

    def asked(self) -> Counter[str]:
        """How often each path of an activity was answered."""
        calls = requests.get(f"{self.mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["calls"]
        return Counter(call["path"] for call in calls if "/activities/" in call["path"] and call["status"] == 200)

    def dagster(self, statement: str) -> list[Any]:
        """The rows of a query on Dagster's database."""
        return found(self.installation.environment["DAGSTER_POSTGRES_URL"], statement)

    def forget_runs(self) -> None:
        """Leave of runs what a copy of Dagster's database from before the import has: nothing."""
        address = parse_url(self.installation.environment["DAGSTER_POSTGRES_URL"], "the address")
        with opened(address) as engine, engine.begin() as connection:
            for statement in FORGET:
                connection.exec_driver_sql(statement)

    def process_of(self, run_id: str) -> psutil.Process:
        rows = self.dagster(f"SELECT event FROM event_logs WHERE run_id = '{run_id}'")  # noqa: S608  Dagster's own id
        numbers = [number for (event,) in rows for number in re.findall(r"pid: (\d+)", event)]
        return psutil.Process(int(numbers[0]))


@pytest.fixture
def site(
    installation: Installation, start_mock: Callable[..., Mock], database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    mock = start_mock("--months", "5")
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{mock.url}/mock/faults", json=[SLOW], timeout=PATIENCE_SECONDS).raise_for_status()
    with opened(make_url(database)) as engine:
        site = Site(installation, mock, engine, wish_for(engine, athlete_id=ATHLETE, profile=True))
        yield site
        stop_up(site.up[-1])


def test_an_import_finishes_whatever_happens_to_its_runs(site: Site, tmp_path: Path) -> None:
    # Dagster does not load the code location until the code is mended, and everything started again.
    (tmp_path / "sitecustomize.py").write_text(NOT_LOADING)
    site.start(PYTHONPATH=str(tmp_path))
    eventually(site.is_refused, "a launch for which Dagster has no code location")
    site.kill()
    assert site.wish.runs == site.wish.attempts == 0
    site.start()

    # The process of its run is killed.
    (first,) = eventually(site.at_work, "the first run of the import")
    assert first.doing == "newest_month"
    assert first.run_id is not None
    site.process_of(first.run_id).kill()
    site.lose()
    assert site.wish.runs == 1
    # The import is launched again, and nothing else executes its run again.
    assert site.dagster("SELECT run_id FROM run_tags WHERE key = 'dagster/retry_number'") == []

    # A person cancels the next one: nothing happens until a person lets it go on.
    second = site.next_run(first)
    dagster = DagsterServer.from_settings(load_settings())
    ask(dagster, CANCEL, str(second.run_id), {"TerminateRunSuccess"}, lambda _: None)
    eventually(lambda: ("CANCELED",) in site.dagster("SELECT status FROM runs"), "the end of the canceled run")
    site.lose()
    assert site.wish.paused_by == "cancel"
    assert site.wish.state == "due"
    assert "paused by a canceled run" in site.installation.output("import", "list")
    assert "1 import resumed" in site.installation.output("import", "resume", str(ATHLETE))

    # Dagster is restored from before the import, and knows none of its runs.
    third = site.next_run(second)
    site.forget_runs()
    site.lose()

    # Everything ends at once, and is started again.
    site.next_run(third)
    site.kill()
    site.start()
    site.lose()

    requests.delete(f"{site.mock.url}/mock/faults", timeout=PATIENCE_SECONDS).raise_for_status()
    eventually(lambda: is_whole(site.engine, site.import_id), "an import in which nothing lacks", FINISHING_SECONDS)
    listed, detailed, streamed = counts(site.installation)
    assert listed == detailed == streamed > 20
    # What was on its way when a run ended is asked for again, and nothing else.
    twice = {path: times for path, times in site.asked().items() if times > 1}
    assert len(twice) <= 4, twice
    assert site.wish.runs >= 5
