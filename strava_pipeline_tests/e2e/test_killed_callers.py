"""Processes killed in the midst of their calls: Strava never sees one call too many, and the others go on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import requests

from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.warm_processes import WarmProcess

LIMIT, WINDOW_S = 40, 5
PROCESSES, KILLS = 4, 8
SEED = 4
CALLING = "strava_pipeline_tests.e2e.calling_process"
ATHLETE = str(recordings.ATHLETE_ID)


def test_processes_that_die_with_reservations_never_lead_to_a_429(
    installation: Installation, start_mock: Callable[..., Mock], tmp_path: Path
) -> None:
    installation.environment["STRAVA_QUOTA_SHORT_LIMIT"] = str(LIMIT)
    installation.environment["STRAVA_QUOTA_SHORT_WINDOW_SECONDS"] = str(WINDOW_S)
    recordings.write(tmp_path / "runner")
    mock = start_mock("--recordings", str(tmp_path / "runner"))
    installation.output("connect", "--code", mock.new_code(recordings.ATHLETE_ID))
    # Slow answers, so that a process that is killed has a call under way.
    slow = {"fault": "delay", "delay_s": 0.2, "path": "/api/v3/*", "times": None}
    requests.post(f"{mock.url}/mock/faults", json=slow, timeout=PATIENCE_SECONDS).raise_for_status()
    chance = random.Random(SEED)  # noqa: S311  the same kills every time
    with ExitStack() as stack:

        def started() -> WarmProcess:
            worker = stack.enter_context(installation.start_module(CALLING, ATHLETE))
            stack.callback(worker.kill)
            return worker

        workers = [started() for _ in range(PROCESSES)]
        for _ in range(KILLS):
            worker = workers.pop(chance.randrange(PROCESSES))
            wait_for_answers(worker, chance.randint(1, 8))
            worker.kill()
            workers.append(started())
        # What the dead had booked holds up nobody for long.
        for worker in workers:
            wait_for_answers(worker, 1)
    seen = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()
    assert seen["totals"]["too_many_requests"] == 0
    windows = Counter(int(call["moment"]) // WINDOW_S for call in seen["calls"] if call["counted"])
    assert max(windows.values()) <= LIMIT
    assert sum(windows.values()) >= LIMIT, "too few calls for a limit to be met"
    # Some died between reservation and answer: those calls are booked without an answer.
    rows = installation.output(
        "sql", "SELECT count(*) FROM ops.api_calls WHERE settled_at IS NULL", "--format", "csv"
    ).split()
    assert int(rows[1]) > 0


def wait_for_answers(worker: WarmProcess, answers: int) -> None:
    assert worker.stdout is not None
    assert [worker.stdout.readline() for _ in range(answers)] == ["answered\n"] * answers
