"""kill -9 of the bridge and of runs, at named points: what was acknowledged takes effect, and once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from strava_pipeline.settings import load_settings
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.e2e.live_path import LivePath
from strava_pipeline_tests.e2e.run_launcher import LIBRARIES, run_launcher
from strava_pipeline_tests.e2e.victim import BRIDGE_POINTS, RUN_POINTS
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.warm_processes import WarmProcesses


@pytest.fixture(scope="module")
def victims() -> Iterator[WarmProcesses]:
    with WarmProcesses(LIBRARIES) as processes:
        yield processes


@pytest.fixture
def live_path(
    victims: WarmProcesses,
    installation: Installation,
    start_mock: Callable[..., Mock],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LivePath]:
    mock = start_mock("--months", "1")
    environment = installation.environment | {
        "STRAVA_HOME": str(installation.home),
        "STRAVA_BRIDGE_PORT": str(free_port()),
    }
    with run_launcher(environment, victims) as (launcher, url):
        environment["DAGSTER_WEBSERVER_URL"] = url
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        path = LivePath(load_settings(), engine, mock.url, launcher)
        yield path
        path.stop_bridge()


def test_a_run_may_be_killed_anywhere(live_path: LivePath) -> None:
    live_path.start_bridge()
    live_path.launcher.dies_at = list(RUN_POINTS)
    rides = []
    for number in range(len(RUN_POINTS)):
        rides.append(live_path.ride())
        assert live_path.deliver(rides[-1])
        # One run each.
        eventually(lambda: len(live_path.launcher.runs) > number, "a launch")  # noqa: B023  called at once
    eventually(live_path.launcher.all_have_ended, "the end of each run")
    live_path.let_leases_end()
    live_path.assert_everything_took_effect_once(rides)
    assert live_path.launcher.dies_at == []
    ends = [run.wait() for run in live_path.launcher.runs.values() if run is not None]
    assert ends.count(-signal.SIGKILL) == len(RUN_POINTS)


def test_a_bridge_may_be_killed_anywhere(live_path: LivePath) -> None:
    rides = []
    for point in BRIDGE_POINTS:
        live_path.start_bridge(dies_at=point)
        rides.append(live_path.ride())
        acknowledged = live_path.deliver(rides[-1])
        bridge = live_path.bridge
        assert bridge is not None
        eventually(lambda: bridge.poll() is not None, f"the end at: {point}")  # noqa: B023  called at once
        assert bridge.poll() == -signal.SIGKILL
        live_path.let_leases_end()
        live_path.start_bridge()
        if not acknowledged:
            assert live_path.deliver(rides[-1])
        eventually(lambda: live_path.open_events() == 0, f"an empty inbox after: {point}")
        live_path.stop_bridge()
    live_path.assert_everything_took_effect_once(rides)
