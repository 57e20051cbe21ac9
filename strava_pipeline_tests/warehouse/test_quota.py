"""The quota ledger: exact for any number of processes, and Strava's word over ours."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, make_url, select

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota import MARGIN, Lane, Outcome, Pair, RateHeaders, Reservation
from strava_pipeline.warehouse import quota
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.ops_tables import api_calls, quota_windows
from strava_pipeline.warehouse.quota import Ceilings, PostgresLedger

QUARTER, DAY = 900, 86400
NOON = datetime(2025, 6, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2025, 6, 11, tzinfo=UTC)
CALL = timedelta(seconds=30)
PROCESSES = 8


@dataclass
class Clock:
    """A clock for the ledger that stands until it is moved; sleeping moves it."""

    moment: datetime = NOON + timedelta(minutes=5)

    def __post_init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, _: object) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quota, "now", clock)
    return clock


def open_ledger(engine: Engine, clock: Clock, short: int = 100, long: int = 1000, **capped: bool) -> PostgresLedger:
    held = {"short_capped": False, "long_capped": False} | capped
    return PostgresLedger(engine, Ceilings(short, long, QUARTER, DAY, **held), sleep=clock.sleep)


def book(ledger: PostgresLedger, lane: Lane = Lane.BACKFILL, wait: timedelta = timedelta(0)) -> Reservation:
    return ledger.reserve(lane, "/activities/{id}", 7, longest=CALL, max_wait=wait)


def refused(ledger: PostgresLedger, lane: Lane = Lane.BACKFILL) -> datetime:
    """When the ledger wants us back."""
    with pytest.raises(QuotaExhausted, match="quota is used up until") as caught:
        book(ledger, lane)
    return caught.value.retry_at


def answered(clock: Clock, status: int = 200, **more: Any) -> Outcome:
    return Outcome(status, duration_ms=12.5, **({"server_time": clock.moment} | more))


def windows(engine: Engine, length: int = QUARTER) -> dict[datetime, Row[Any]]:
    with engine.connect() as connection:
        rows = connection.execute(select(quota_windows).where(quota_windows.c.length_s == length))
        return {row.starts_at: row for row in rows}


def booked(engine: Engine, start: datetime, length: int = QUARTER) -> int:
    return int(windows(engine, length)[start].booked)


def test_a_call_is_one_row_from_reservation_to_answer(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    reservation = book(ledger, Lane.LIVE)
    with engine.connect() as connection:
        row = connection.execute(select(api_calls)).one()
    assert (row.lane, row.endpoint, row.athlete_id, row.reserved_at) == ("live", "/activities/{id}", 7, clock.moment)
    assert (row.settled_at, row.status) == (None, None)
    clock.moment += timedelta(seconds=1)
    ledger.settle(reservation, answered(clock))
    with engine.connect() as connection:
        row = connection.execute(select(api_calls)).one()
    assert (row.settled_at, row.status, row.duration_ms) == (clock.moment, 200, 12.5)


def test_the_short_limit_holds_and_tells_when_to_come_back(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3)
    for _ in range(3):
        ledger.settle(book(ledger), answered(clock))
    assert refused(ledger) == NOON + timedelta(minutes=15) + MARGIN
    clock.moment = NOON + timedelta(minutes=15) + MARGIN
    book(ledger)


def test_the_day_limit_holds_while_the_quarter_has_room(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3, long=4)
    for _ in range(2):
        book(ledger)
    clock.moment += timedelta(minutes=15)
    for _ in range(2):
        book(ledger)
    assert refused(ledger) == MIDNIGHT + MARGIN
    clock.moment = MIDNIGHT + MARGIN
    book(ledger)


def test_a_call_without_an_answer_stays_booked(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=2)
    ledger.settle(book(ledger), Outcome(status=None, duration_ms=5))
    book(ledger)  # its process died
    clock.moment += timedelta(minutes=9)
    assert refused(ledger) == NOON + timedelta(minutes=15) + MARGIN


@pytest.mark.parametrize(
    ("seconds_after_edge", "before", "after"),
    [(-8, 1, 0), (6, 0, 1), (-1, 1, 1), (1, 1, 1), (None, 1, 1)],
    ids=["counted before", "counted after", "just before", "just after", "no Date"],
)
def test_a_call_near_an_edge_is_booked_on_both_sides_until_its_date_settles_it(
    engine: Engine, clock: Clock, seconds_after_edge: int | None, before: int, after: int
) -> None:
    edge = NOON + timedelta(minutes=15)
    clock.moment = edge - timedelta(seconds=10)
    ledger = open_ledger(engine, clock)
    reservation = book(ledger)
    assert (booked(engine, NOON), booked(engine, edge)) == (1, 1)
    server_time = None if seconds_after_edge is None else edge + timedelta(seconds=seconds_after_edge)
    ledger.settle(reservation, answered(clock, server_time=server_time))
    assert (booked(engine, NOON), booked(engine, edge)) == (before, after)


def test_a_call_near_an_edge_must_fit_on_both_sides(engine: Engine, clock: Clock) -> None:
    edge = NOON + timedelta(minutes=15)
    clock.moment = edge - timedelta(seconds=10)
    ledger = open_ledger(engine, clock, short=2)
    for _ in range(2):
        ledger.settle(book(ledger), answered(clock, server_time=edge + timedelta(seconds=5)))
    assert (booked(engine, NOON), booked(engine, edge)) == (0, 2)
    # This side has room again, the other one not: a slow call might count there.
    assert refused(ledger) == edge + MARGIN
    clock.moment = edge + MARGIN
    assert refused(ledger) == edge + timedelta(minutes=15) + MARGIN


def test_midnight_is_an_edge_of_the_day_as_well(engine: Engine, clock: Clock) -> None:
    clock.moment = MIDNIGHT - timedelta(seconds=10)
    ledger = open_ledger(engine, clock)
    reservation = book(ledger)
    assert [booked(engine, start, DAY) for start in (MIDNIGHT - timedelta(days=1), MIDNIGHT)] == [1, 1]
    ledger.settle(reservation, answered(clock, server_time=MIDNIGHT + timedelta(seconds=5)))
    assert [booked(engine, start, DAY) for start in (MIDNIGHT - timedelta(days=1), MIDNIGHT)] == [0, 1]


def test_stravas_usage_only_raises_ours(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    for usage in (60, 20):
        rates = RateHeaders(read_usage=Pair(usage, usage))
        ledger.settle(book(ledger), answered(clock, rates=rates))
    row = windows(engine)[NOON]
    assert (row.booked, row.read_foreign) == (2, 59)
    for _ in range(100 - 59 - 2):
        book(ledger)
    assert refused(ledger) == NOON + timedelta(minutes=15) + MARGIN


def test_the_overall_bucket_can_be_the_narrower_one(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    rates = RateHeaders(
        read_limit=Pair(100, 1000), read_usage=Pair(1, 1), overall_limit=Pair(200, 2000), overall_usage=Pair(199, 199)
    )
    ledger.settle(book(ledger), answered(clock, rates=rates))
    book(ledger)
    assert refused(ledger) == NOON + timedelta(minutes=15) + MARGIN


@pytest.mark.parametrize(("capped", "named", "room"), [(False, 5, 5), (False, 2, 2), (True, 5, 3), (True, 2, 2)])
def test_stravas_limit_is_adopted_up_to_the_operators(
    engine: Engine, clock: Clock, capped: bool, named: int, room: int
) -> None:
    ledger = open_ledger(engine, clock, short=3, short_capped=capped)
    ledger.settle(book(ledger), answered(clock, rates=RateHeaders(read_limit=Pair(named, 1000))))
    for _ in range(room - 1):
        book(ledger)
    assert refused(ledger) == NOON + timedelta(minutes=15) + MARGIN
    clock.moment += timedelta(minutes=15)
    # The next window starts with the limit that Strava named last.
    for _ in range(room):
        book(ledger)
    assert refused(ledger) == NOON + timedelta(minutes=30) + MARGIN


@pytest.mark.parametrize("text", ["", "garbage", "1", "1,2,3", "-5,10", "1e3,5", "99999999999,1", "٣,٤"])
def test_garbled_headers_change_nothing(engine: Engine, clock: Clock, text: str) -> None:
    ledger = open_ledger(engine, clock)
    names = ("X-ReadRateLimit-Limit", "X-ReadRateLimit-Usage", "X-RateLimit-Limit", "X-RateLimit-Usage")
    ledger.settle(book(ledger), answered(clock, rates=RateHeaders.parse(dict.fromkeys(names, text))))
    row = windows(engine)[NOON]
    assert (row.booked, row.read_limit, row.read_foreign) == (1, None, 0)
    assert (row.overall_limit, row.overall_foreign) == (None, 0)


def test_usage_told_at_an_edge_is_not_taken_for_either_window(engine: Engine, clock: Clock) -> None:
    clock.moment = NOON + timedelta(minutes=15)
    ledger = open_ledger(engine, clock)
    rates = RateHeaders(read_usage=Pair(100, 100))
    ledger.settle(book(ledger), answered(clock, rates=rates))
    assert [row.read_foreign for row in windows(engine).values()] == [0, 0]
    # The day has no edge here, so its count holds.
    assert windows(engine, DAY)[NOON.replace(hour=0)].read_foreign == 99


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ({"names_a_window": True}, NOON + timedelta(minutes=15) + MARGIN),
        ({"rates": RateHeaders(read_limit=Pair(100, 1000), read_usage=Pair(3, 1000))}, MIDNIGHT + MARGIN),
        ({"retry_after": timedelta(seconds=77)}, NOON + timedelta(minutes=5, seconds=77)),
        ({}, NOON + timedelta(minutes=6)),
        ({"server_time": NOON - timedelta(hours=3)}, NOON + timedelta(minutes=6)),
    ],
    ids=["window named", "day used up", "Retry-After", "unnamed", "Date far off"],
)
def test_a_429_stops_everyone(
    engine: Engine, database: str, clock: Clock, more: dict[str, Any], until: datetime
) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, status=429, **more))
    other_process = open_engine(make_url(database))
    assert {refused(open_ledger(other_process, clock), lane) for lane in Lane} == {until}
    clock.moment = until
    book(ledger)
    other_process.dispose()


def test_a_longer_block_is_not_shortened_by_a_later_429(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    first, second = book(ledger), book(ledger)
    ledger.settle(first, answered(clock, status=429, retry_after=timedelta(minutes=9)))
    ledger.settle(second, answered(clock, status=429))
    assert refused(ledger) == clock.moment + timedelta(minutes=9)


def test_a_block_outlives_its_window(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, status=429, retry_after=timedelta(hours=2)))
    until = clock.moment + timedelta(hours=2)
    clock.moment += timedelta(hours=1)
    assert refused(ledger) == until


def test_waiting_goes_in_slices_and_says_how_long(
    engine: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_ledger(engine, clock, short=1)
    book(ledger)
    with caplog.at_level(logging.INFO):
        reservation = book(ledger, wait=timedelta(minutes=20))
    assert reservation.reserved_at == NOON + timedelta(minutes=15) + MARGIN
    assert max(clock.slept) == 30
    assert sum(clock.slept) == 602
    assert [record.getMessage() for record in caplog.records] == [
        "waiting 602 s for Strava's quota (/activities/{id}, lane backfill)"
    ]


def test_a_wait_that_is_too_long_does_not_begin(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=1)
    book(ledger)
    with pytest.raises(QuotaExhausted):
        book(ledger, wait=timedelta(minutes=10))
    assert clock.slept == []


def test_only_limits_set_by_the_operator_are_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Ceilings.from_settings(load_settings()) == Ceilings(100, 1000, QUARTER, DAY, False, False)
    monkeypatch.setenv("STRAVA_QUOTA_SHORT_LIMIT", "50")
    assert Ceilings.from_settings(load_settings()) == Ceilings(50, 1000, QUARTER, DAY, True, False)


@pytest.fixture
def workers(settings: Settings) -> Iterator[list[subprocess.Popen[str]]]:
    # The present lies in the middle of a window of this length.
    length = int(time.time() / 1.5)
    command = [sys.executable, "-m", "strava_pipeline_tests.warehouse.reserve_worker", "100", str(length)]
    with ExitStack() as stack:
        started = []
        for _ in range(PROCESSES):
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(worker)
            stack.callback(worker.kill)
            started.append(worker)
        yield started


def test_eight_processes_book_a_hundred_of_a_hundred(engine: Engine, workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    counts = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(counts) == 100
    with engine.connect() as connection:
        assert len(connection.execute(select(api_calls.c.id)).all()) == 100


def test_windows_of_real_time_are_filled_and_never_overfilled(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, length, threads = 20, 2, 4
    for module in (quota, sys.modules["strava_pipeline.strava.quota"]):
        monkeypatch.setattr(module, "MARGIN", timedelta(seconds=0.2))
    ceilings = Ceilings(limit, 10**6, length, 3600, short_capped=True, long_capped=True)
    ledger = PostgresLedger(engine, ceilings)
    first = int(time.time()) // length + 1
    sent: Counter[int] = Counter()
    guard = threading.Lock()

    def work() -> None:
        # Two whole windows and what is left of the one that has begun.
        while time.time() < (first + 2) * length - 0.3:
            wait = timedelta(seconds=length + 1)
            reservation = ledger.reserve(Lane.BACKFILL, "/athlete", 1, longest=timedelta(0), max_wait=wait)
            with guard:
                sent[int(time.time()) // length] += 1
            ledger.settle(reservation, Outcome(200, 1.0, server_time=datetime.now(UTC)))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert max(sent.values()) <= limit
    assert (sent[first], sent[first + 1]) == (limit, limit)
