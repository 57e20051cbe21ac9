"""The ledger with real processes: exact for any number of them, and none the worse for one that is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import CallOutcome, Lane
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.strava_clock import store_clock
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline_tests.warehouse.quota.ledgers import book_all

PROCESSES = 8
LIMIT = 100
# The present lies in the middle of a window of this length.
LENGTH = int(time.time() / 1.5)

Worker = subprocess.Popen[str]


@pytest.fixture
def start(settings: Settings, engine: Engine) -> Iterator[Callable[[int], Worker]]:
    """Starts a process that books up to so many calls when it is told to."""
    with engine.begin() as connection:
        store_clock(connection, StravaClock(0.0, 0.25, datetime.now(UTC)))
    with ExitStack() as stack:

        def started(most: int) -> Worker:
            command = [sys.executable, "-m", "strava_pipeline_tests.warehouse.quota.reserve_worker"]
            numbers = [str(number) for number in (LIMIT, LENGTH, most)]
            worker = subprocess.Popen([*command, *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(worker)
            stack.callback(worker.kill)
            return worker

        yield started


def told(worker: Worker) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def tell(worker: Worker) -> None:
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def at(seconds_from_now: float) -> Callable[[object], datetime]:
    return lambda _: datetime.now(UTC) + timedelta(seconds=seconds_from_now)


def test_eight_processes_book_a_hundred_of_a_hundred(engine: Engine, start: Callable[[int], Worker]) -> None:
    workers = [start(LIMIT) for _ in range(PROCESSES)]
    assert [told(worker) for worker in workers] == ["ready"] * PROCESSES
    for worker in workers:
        tell(worker)
    assert sum(int(told(worker)) for worker in workers) == LIMIT
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(api_calls)).scalar_one() == LIMIT


def test_what_a_killed_process_had_booked_stays_booked_until_the_window_ends(
    engine: Engine, start: Callable[[int], Worker]
) -> None:
    worker = start(30)
    told(worker)
    tell(worker)
    assert told(worker) == "30"
    worker.kill()
    worker.wait()
    rate_limits = RateLimits(LIMIT, 10 * LIMIT, LENGTH, LENGTH + 1)
    # Its calls may have reached Strava, all of them: together it is never more than the limit.
    assert book_all(PostgresLedger(engine, rate_limits)) == LIMIT - 30
    later = at(LENGTH)
    with engine.begin() as connection:
        store_clock(connection, StravaClock(0.0, 0.25, later(None)))
    assert book_all(PostgresLedger(engine, rate_limits, clock=later)) == LIMIT


def test_a_process_that_is_killed_while_it_books_leaves_no_lock_behind(
    engine: Engine, start: Callable[[int], Worker]
) -> None:
    worker = start(LIMIT)
    told(worker)
    tell(worker)
    while _calls(engine) < 5:
        assert worker.poll() is None
    worker.kill()
    worker.wait()
    rest = book_all(PostgresLedger(engine, RateLimits(LIMIT, 10 * LIMIT, LENGTH, LENGTH + 1)))
    # What it had booked is booked whole, call and windows, or not at all.
    assert rest == LIMIT - (_calls(engine) - rest)


def test_windows_of_real_time_are_never_overfilled(engine: Engine) -> None:
    limit, length = 10, 3
    first = int(time.time()) // length + 1
    sent: Counter[int] = Counter()
    guard = threading.Lock()
    ledger = PostgresLedger(engine, RateLimits(limit, 10**6, length, 3600))

    def work() -> None:
        while int(time.time()) // length <= first:
            reservation = ledger.reserve(
                Lane.LIVE, "/athlete", 1, longest=timedelta(0), max_wait=timedelta(seconds=3 * length)
            )
            with guard:
                sent[int(time.time()) // length] += 1
            ledger.settle(reservation, CallOutcome(200, 1.0, server_time=datetime.now(UTC).replace(microsecond=0)))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert max(sent.values()) <= limit
    assert sum(sent.values()) > limit


def _calls(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(api_calls)).scalar_one()
