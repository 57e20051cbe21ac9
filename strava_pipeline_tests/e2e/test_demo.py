"""The main job, as the demo shows it, in processes of its own."""

from __future__ import annotations

import json
import re
from collections import Counter
from operator import itemgetter
from pathlib import Path

import psutil
import pytest

from strava_pipeline.names import HISTORY_ASSETS, OWN_NAMES, PROFILE_ASSETS, Asset, Job
from strava_pipeline_tests.defs.own_definitions import (
    run_checks,
    run_retention,
    send_notifications,
    update_lake,
    upkeep,
)
from strava_pipeline_tests.e2e.conftest import Installation
from strava_pipeline_tests.warm_processes import TIMEOUT_SECONDS

pytestmark = pytest.mark.long

ATHLETES = ("118204771", "97350046")
# Schedules may begin these meanwhile.
REGULAR = {job.name for job in (upkeep, update_lake, run_checks, run_retention, send_notifications)}


def test_demo_ends_by_itself_with_a_ride_in_a_table_and_its_way_in_the_logs(embedded: Installation) -> None:
    embedded.environment["STRAVA_LOG_FORMAT"] = "json"
    demo = embedded.start_new("demo")
    shown, _ = demo.communicate(timeout=TIMEOUT_SECONDS)
    assert demo.returncode == 0, shown

    assert re.search(r"^429s +0 \(the mock sent 0\)$", shown, re.MULTILINE)
    sent = re.search(r"^requests to Strava +(\d+) \(the mock counted (\d+)\)$", shown, re.MULTILINE)
    assert sent
    assert sent[1] == sent[2]
    seconds = re.search(r"^webhook to analysed +([0-9.]+) s$", shown, re.MULTILINE)
    assert seconds
    assert 0 < float(seconds[1]) < TIMEOUT_SECONDS
    whole = r"^\[ *[0-9.]+ s\] 14 of 14 months done; ([0-9]+) activities, \1 details, \1 streams; "
    assert re.search(whole, shown, re.MULTILINE)
    runs = Counter(re.findall(r"^ *[0-9a-f]{8} +SUCCESS +[0-9.]+ +(.*?) *$", shown, re.MULTILINE))
    for assets in (PROFILE_ASSETS, HISTORY_ASSETS):
        for athlete in ATHLETES:
            assert runs.pop(f"{', '.join(sorted(assets))} of {athlete}") == 1, shown
    # A slow machine may take the ride in two runs, and compute some loads by itself before the demo asks for all.
    assert runs.pop(OWN_NAMES.job(Job.WEBHOOK_SYNC)) >= 1, shown
    loads = {what for what in runs if what.startswith(f"{Asset.TRAINING_LOAD} of ")}
    assert loads, shown
    assert runs.keys() - loads <= REGULAR, shown
    assert "FAILURE" not in shown
    for column in ("distance_m", "moving_time_s", "elevation_gain_m", "average_speed_mps", "average_power_w"):
        assert re.search(rf"{column} +[0-9][0-9,.]*", shown), column
    for table in ("activities", "activity_streams", "route_analyses", "laps", "segment_efforts", "training_load"):
        count = re.search(rf"strava\.{table} +([0-9,]+)", shown)
        assert count
        assert count[1] != "0", table

    _assert_that_one_search_finds_the_way_of_the_ride(embedded.home / "logs")

    left = [process.pid for process in psutil.process_iter() if str(embedded.home) in _traces(process)]
    assert left == []


def _assert_that_one_search_finds_the_way_of_the_ride(logs: Path) -> None:
    """As docs/logs.md tells: from its delivery to its rows, by the event's id, in every process's log."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in logs.iterdir()}
    # Each line of each process is an object; those of Dagster's daemon have fields of its own.
    lines = [json.loads(line) for text in texts.values() for line in text.splitlines()]
    (delivery,) = [line for line in lines if line.get("logger") == "webhook_bridge.webhooks"]
    event_id, activity_id = delivery["event_id"], delivery["activity_id"]
    search = re.compile(rf'^.*"event_id": (?:\[(?:[0-9]+, )*)?{event_id}\b.*$', re.MULTILINE)
    way = sorted((json.loads(line) for text in texts.values() for line in search.findall(text)), key=itemgetter("time"))
    steps = {
        "the POST": ("webhook_bridge.webhooks", rf"create activity {activity_id} of athlete [0-9]+: new", "request_id"),
        "the launch": ("webhook_bridge.dispatcher", rf"run \S+ has activity {activity_id} of athlete [0-9]+", "run_id"),
        "the take-up": ("dagster", rf"activity {activity_id} of athlete [0-9]+: [0-9]+ x create", "run_id"),
        "the detail": ("strava_pipeline.strava.calls", rf"GET /activities/{activity_id} of .*: 200 in .*", "run_id"),
        "the streams": (
            "strava_pipeline.strava.calls", rf"GET /activities/{activity_id}/streams of .*: 200 in .*", "run_id",
        ),
        "the rows": ("dagster", rf"activity {activity_id}: stored", "run_id"),
        "the mail": ("dagster", rf"mail about activity {activity_id}: skipped, .*", "run_id"),
    }  # fmt: skip
    found = {}
    for step, (logger, message, known) in steps.items():
        found[step] = next(
            (at for at, line in enumerate(way) if line["logger"] == logger and re.fullmatch(message, line["message"])),
            -1,
        )
        assert found[step] >= 0, (step, way)
        assert way[found[step]][known], step
        assert way[found[step]]["athlete_id"] == delivery["athlete_id"], step
    # The bridge's threads may log in any order.
    of_run = [step for step in steps if step != "the POST"]
    assert of_run == sorted(of_run, key=found.__getitem__), way
    assert found["the POST"] < found["the take-up"], way
    # On a slow machine a run may be launched twice; a mail may wait for a run of its own.
    launched = {line["run_id"] for line in way if line["logger"] == "webhook_bridge.dispatcher"}
    assert {way[found[step]]["run_id"] for step in of_run if step != "the mail"} <= launched, way


def _traces(process: psutil.Process) -> str:
    """Command line and home of a process, as far as it still exists."""
    try:
        return " ".join([*process.cmdline(), process.environ().get("STRAVA_HOME", "")])
    except psutil.Error:
        return ""
