"""Two `up` on one storage of Dagster's: the second one ends, and takes over once the first one is gone."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from strava_pipeline_tests.e2e.conftest import Installation, start_up, stop_up
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.ports import free_port


def refused(installation: Installation, process: int, **variables: str) -> None:
    """A second `up`, on other ports, names the first one's process, and starts nothing."""
    variables |= {"STRAVA_BRIDGE_PORT": str(free_port()), "DAGSTER_WEBSERVER_URL": f"http://127.0.0.1:{free_port()}"}
    done = installation.call("up", **variables)
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("strava-pipeline: another strava-pipeline up has Dagster's storage at ")
    assert f"process {process}, since" in line


def daemons(process: int) -> int:
    """The number of Dagster's daemons that a process has started."""
    found = [each.cmdline() for each in psutil.Process(process).children(recursive=True)]
    return sum(command[-1:] != [] and any(part.endswith("dagster-daemon") for part in command) for command in found)


def test_one_up_at_a_time_works_on_a_storage(installation: Installation, tmp_path: Path) -> None:
    first = start_up(installation)
    try:
        refused(installation, first.pid)
        # Another machine, with a folder of its own and the same databases.
        (tmp_path / "elsewhere").mkdir()
        refused(installation, first.pid, STRAVA_HOME=str(tmp_path / "elsewhere"))
        assert daemons(first.pid) == 1
        assert first.poll() is None
    finally:
        left = psutil.Process(first.pid).children(recursive=True)
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=PATIENCE_SECONDS)
    # What it had started ends with it, and frees the ports.
    assert psutil.wait_procs(left, timeout=PATIENCE_SECONDS)[1] == []
    second = start_up(installation)
    try:
        assert daemons(second.pid) == 1
    finally:
        stop_up(second)
