"""Measures what booking a request costs: reservation and settlement by eight processes at once, committed to the disk.

All processes book as fast as they can, which is the worst case: with a network, a process waits for Strava most of the
time. One process alone is measured for comparison. Takes about 20 s.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from sqlalchemy import make_url

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Pair, RateHeaders
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.strava_clock import store_clock

PROCESSES = 8
CALLS = 200
WARM_UP = 10
NO_LIMIT = 10_000_000
RATES = RateHeaders(Pair(NO_LIMIT, NO_LIMIT), Pair(1, 1), Pair(NO_LIMIT, NO_LIMIT), Pair(1, 1))


def main() -> None:
    """Print p50 and p99 of both steps, for eight processes and for one."""
    with migrated_database(durable=True) as url:
        address = url.render_as_string(hide_password=False)
        engine = open_engine(url)
        with engine.begin() as connection:
            store_clock(connection, StravaClock(0.0, 0.25, datetime.now(UTC)))
        engine.dispose()
        for processes in (PROCESSES, 1):
            taken = _measure(address, processes)
            name = f"{processes} process{'es' if processes > 1 else ''}"
            for step, milliseconds in taken.items():
                show(f"{name}, {step}, p50", statistics.median(milliseconds), "ms")
                show(f"{name}, {step}, p99", statistics.quantiles(milliseconds, n=100)[98], "ms")


def _measure(address: str, processes: int) -> dict[str, list[float]]:
    """The milliseconds of each step, from all processes."""
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(processes), context.SimpleQueue()
    workers = [context.Process(target=_work, args=(address, together, answers)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    taken = [both for _ in workers for both in answers.get()]
    for worker in workers:
        worker.join()
    return {"reserve": [reserve for reserve, _ in taken], "settle": [settle for _, settle in taken]}


def _work(address: str, together: Barrier, answers: SimpleQueue[list[tuple[float, float]]]) -> None:
    """The work of one process: warm up, wait for the others, and report what each call took (ms)."""
    engine = open_engine(make_url(address))
    ledger = PostgresLedger(engine, RateLimits(NO_LIMIT, NO_LIMIT, 900, 86_400))
    for _ in range(WARM_UP):
        _book_and_settle(ledger)
    together.wait()
    answers.put([_book_and_settle(ledger) for _ in range(CALLS)])
    engine.dispose()


def _book_and_settle(ledger: PostgresLedger) -> tuple[float, float]:
    began = time.perf_counter()
    reservation = ledger.reserve(
        Lane.BACKFILL, "/activities/{id}", 1, longest=timedelta(seconds=30), max_wait=timedelta(minutes=1)
    )
    booked = time.perf_counter()
    date = datetime.now(UTC).replace(microsecond=0)
    ledger.settle(reservation, CallOutcome(200, 1.0, server_time=date, rates=RATES))
    return (booked - began) * 1000, (time.perf_counter() - booked) * 1000


if __name__ == "__main__":
    main()
