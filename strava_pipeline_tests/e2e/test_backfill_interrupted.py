"""A backfill that is killed, ended or doubled: no request for what is stored, and nothing missing."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.warm_processes import WarmProcess

ATHLETE = CYCLIST.athlete_id


def connected_mock(installation: Installation, start_mock: Callable[..., Mock], months: int) -> Mock:
    """A mock with that many months of made-up rides, and the installation connected to one athlete."""
    mock = start_mock("--months", str(months))
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    return mock


@pytest.fixture
def mock(installation: Installation, start_mock: Callable[..., Mock]) -> Mock:
    return connected_mock(installation, start_mock, 2)


def arguments(*more: str) -> tuple[str, ...]:
    today = datetime.now(UTC)
    first = today - timedelta(days=150)
    span = ("--from", f"{first:%Y-%m}", "--to", f"{today:%Y-%m}")
    assets = "activities,activity_details,activity_streams"
    return ("backfill", "--athlete", str(ATHLETE), *span, "--assets", assets, *more)


def asked(mock: Mock) -> Counter[str]:
    """How often each path of an activity was asked for."""
    calls = requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["calls"]
    return Counter(call["path"] for call in calls if "/activities/" in call["path"])


def found(address: str, query: str) -> list[Any]:
    """The rows of a query."""
    engine = create_engine(parse_url(address, "the address"))
    with engine.connect() as connection:
        rows = list(connection.execute(text(query)).all())
    engine.dispose()
    return rows


def counts(installation: Installation) -> tuple[int, int, int]:
    """Activities, details and streams that are stored."""
    query = (
        "SELECT (SELECT count(*) FROM strava.activities), (SELECT count(*) FROM ops.payloads WHERE kind = 'detail'),"
        " (SELECT count(*) FROM strava.activity_streams)"
    )
    ((listed, detailed, streamed),) = found(installation.environment["STRAVA_DATABASE_URL"], query)
    return listed, detailed, streamed


def run_states(installation: Installation) -> list[str]:
    """What Dagster says of its runs, in the order of their creation."""
    rows = found(installation.environment["DAGSTER_POSTGRES_URL"], "SELECT status FROM runs ORDER BY id")
    return [row[0] for row in rows]


def import_of(installation: Installation) -> tuple[str, str | None, bool]:
    """State of the one import, who paused it, and whether nothing lacks."""
    query = "SELECT state, paused_by, whole_at IS NOT NULL FROM ops.imports"
    ((state, paused_by, is_whole),) = found(installation.environment["STRAVA_DATABASE_URL"], query)
    return state, paused_by, is_whole


def says_that_it_waits(installation: Installation) -> bool:
    query = "SELECT 1 FROM ops.job_progress WHERE waiting_for IS NOT NULL"
    return bool(found(installation.environment["STRAVA_DATABASE_URL"], query))


@pytest.fixture
def started(installation: Installation) -> Iterator[Callable[[], WarmProcess]]:
    """Starts backfills; those that still run afterwards are ended."""
    processes: list[WarmProcess] = []

    def start() -> WarmProcess:
        processes.append(installation.start(*arguments()))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)


def test_a_killed_backfill_goes_on_without_asking_twice(
    installation: Installation, mock: Mock, started: Callable[[], WarmProcess]
) -> None:
    process = started()
    eventually(lambda: len(asked(mock)) >= 5, "five requests of the backfill")
    process.kill()
    process.wait(timeout=PATIENCE_SECONDS)
    installation.output(*arguments())
    listed, detailed, streamed = counts(installation)
    assert listed == detailed == streamed > 10
    twice = {path: times for path, times in asked(mock).items() if times > 1}
    assert import_of(installation) == ("due", None, True)
    # The one that was on its way when the process died is asked for again.
    assert len(twice) <= 1
    assert set(twice.values()) <= {2}
    before = asked(mock)
    installation.output(*arguments())
    assert asked(mock) == before


@pytest.mark.parametrize(
    ("number", "months", "settings"),
    [
        (signal.SIGINT, 2, {}),
        (signal.SIGTERM, 2, {"STRAVA_QUOTA_SHORT_LIMIT": "14"}),
        (signal.SIGINT, 5, {"STRAVA_IMPORT_BATCH_SIZE": "50", "STRAVA_IMPORT_BATCH_INTERVAL_SECONDS": "600"}),
    ],
    ids=["at-work", "waiting-for-quota", "between-batches"],
)
def test_a_signal_ends_a_backfill_within_seconds_and_in_one_line(
    installation: Installation,
    start_mock: Callable[..., Mock],
    started: Callable[[], WarmProcess],
    number: signal.Signals,
    months: int,
    settings: dict[str, str],
) -> None:
    mock = connected_mock(installation, start_mock, months)
    installation.environment |= settings
    process = started()
    if settings:
        eventually(lambda: says_that_it_waits(installation), "a backfill that waits")
    else:
        eventually(lambda: len(asked(mock)) >= 5, "five requests of the backfill")
    process.send_signal(number)
    # Three seconds of grace and the end of the process; what it waited for takes ten minutes and more.
    told, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + number, told
    lines = [line for line in told.splitlines() if not line.startswith("run ")]
    assert lines[-1].startswith("strava-pipeline: interrupted; so far "), told
    assert "Traceback" not in told
    assert run_states(installation) == ["SUCCESS", "CANCELED"]
    listed, detailed, streamed = counts(installation)
    assert f"{listed} activities, {detailed} with their detail, {streamed} with samples" in lines[-1]
    # Ctrl-C is a person's word, any other signal the machine's.
    is_paused = number == signal.SIGINT
    assert (f"strava-pipeline import resume {ATHLETE}" in lines[-1]) is is_paused
    assert import_of(installation) == ("due", "command" if is_paused else None, False)


def test_two_backfills_at_once_ask_for_everything_once(
    installation: Installation, mock: Mock, started: Callable[[], WarmProcess]
) -> None:
    both = [started(), started()]
    told = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    listed, detailed, streamed = counts(installation)
    assert listed == detailed == streamed > 10
    assert set(asked(mock).values()) == {1}
