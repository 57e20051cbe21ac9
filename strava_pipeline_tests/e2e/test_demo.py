"""The main job, as the demo shows it, in processes of its own."""

from __future__ import annotations

import re

import psutil

from strava_pipeline.defs.jobs.lake import update_lake
from strava_pipeline.defs.jobs.upkeep import upkeep
from strava_pipeline_tests.e2e.conftest import Installation
from strava_pipeline_tests.warm_processes import TIMEOUT_SECONDS

# Of two athletes: profiles, histories, and the new ride; then the training loads.
RUNS = 5
# Schedules may begin these meanwhile.
REGULAR = (upkeep.name, update_lake.name)


def test_demo_ends_by_itself_with_a_ride_in_a_table(embedded: Installation) -> None:
    demo = embedded.start_new("demo")
    shown, _ = demo.communicate(timeout=TIMEOUT_SECONDS)
    assert demo.returncode == 0, shown

    assert re.search(r"^429s +0 \(the mock sent 0\)$", shown, re.MULTILINE)
    sent = re.search(r"^requests to Strava +(\d+) \(the mock counted (\d+)\)$", shown, re.MULTILINE)
    assert sent
    assert sent[1] == sent[2]
    seconds = re.search(r"^webhook to analysed +([0-9.]+) s$", shown, re.MULTILINE)
    assert seconds
    assert 0 < float(seconds[1]) < 60
    whole = r"^\[ *[0-9.]+ s\] 14 of 14 months done; ([0-9]+) activities, \1 details, \1 streams; "
    assert re.search(whole, shown, re.MULTILINE)
    succeeded = [line for line in shown.splitlines() if "SUCCESS" in line and not any(job in line for job in REGULAR)]
    # On a slow machine Dagster computes some by itself before the demo asks for all.
    loads = [line for line in succeeded if "training_load of " in line]
    assert len(loads) >= 1
    assert len(succeeded) - len(loads) == RUNS
    assert "FAILURE" not in shown
    for column in ("distance_m", "moving_time_s", "elevation_gain_m", "average_speed_mps", "average_power_w"):
        assert re.search(rf"{column} +[0-9][0-9,.]*", shown), column
    for table in ("activities", "activity_streams", "route_analyses", "laps", "segment_efforts", "training_load"):
        count = re.search(rf"strava\.{table} +([0-9,]+)", shown)
        assert count
        assert count[1] != "0", table

    left = [process.pid for process in psutil.process_iter() if str(embedded.home) in _traces(process)]
    assert left == []


def _traces(process: psutil.Process) -> str:
    """Command line and home of a process, as far as it still exists."""
    try:
        return " ".join([*process.cmdline(), process.environ().get("STRAVA_HOME", "")])
    except psutil.Error:
        return ""
