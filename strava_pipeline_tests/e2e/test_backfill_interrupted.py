"""A backfill that is killed or doubled: no request for what is stored, and nothing missing."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline_tests.e2e.conftest import Installation, Mock

ATHLETE = CYCLIST.athlete_id
SECONDS = 120


@pytest.fixture
def mock(installation: Installation, start_mock: Callable[..., Mock]) -> Mock:
    """A mock with two months of made-up rides, and the installation connected to one athlete."""
    mock = start_mock("--months", "2")
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    return mock


def arguments(*more: str) -> tuple[str, ...]:
    today = datetime.now(UTC)
    first = today - timedelta(days=75)
    span = ("--from", f"{first:%Y-%m}", "--to", f"{today:%Y-%m}")
    assets = "activities,activity_details,activity_streams"
    return ("backfill", "--athlete", str(ATHLETE), *span, "--assets", assets, *more)


def asked(mock: Mock) -> Counter[str]:
    """How often each path of an activity was asked for."""
    calls = requests.get(f"{mock.url}/mock/calls", timeout=10).json()["calls"]
    return Counter(call["path"] for call in calls if "/activities/" in call["path"])


def wait_until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def counts(installation: Installation) -> tuple[int, int, int]:
    """Activities, details and streams that are stored."""
    engine = create_engine(
        installation.environment["STRAVA_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
    )
    query = (
        "SELECT (SELECT count(*) FROM strava.activities), (SELECT count(*) FROM ops.payloads WHERE kind = 'detail'),"
        " (SELECT count(*) FROM strava.activity_streams)"
    )
    with engine.connect() as connection:
        found = connection.execute(text(query)).one()
    engine.dispose()
    return found[0], found[1], found[2]


@pytest.fixture
def started(installation: Installation) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts backfills; those that still run afterwards are ended."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        processes.append(installation.start(*arguments()))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=20)


def test_a_killed_backfill_goes_on_without_asking_twice(
    installation: Installation, mock: Mock, started: Callable[[], subprocess.Popen[str]]
) -> None:
    process = started()
    wait_until(lambda: len(asked(mock)) >= 5, "the backfill sent no request")
    process.kill()
    process.wait(timeout=20)
    installation.output(*arguments())
    listed, detailed, streamed = counts(installation)
    assert listed == detailed == streamed > 10
    twice = {path: times for path, times in asked(mock).items() if times > 1}
    # The one that was on its way when the process died is asked for again.
    assert len(twice) <= 1
    assert set(twice.values()) <= {2}
    before = asked(mock)
    installation.output(*arguments())
    assert asked(mock) == before


def test_two_backfills_at_once_ask_for_everything_once(
    installation: Installation, mock: Mock, started: Callable[[], subprocess.Popen[str]]
) -> None:
    both = [started(), started()]
    told = [process.communicate(timeout=SECONDS)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    listed, detailed, streamed = counts(installation)
    assert listed == detailed == streamed > 10
    assert set(asked(mock).values()) == {1}
