"""The ledger and clocks that differ: learned with the first call, doubted when one answer is odd, found again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.warehouse.quota.strava_clock import load_clock
from strava_pipeline_tests.warehouse.quota.ledgers import (
    EDGE,
    NOON,
    Clock,
    answered,
    book,
    book_all,
    booked,
    open_ledger,
    refused,
)

HOUR = timedelta(hours=1)


def known(engine: Engine) -> StravaClock:
    with engine.connect() as connection:
        return load_clock(connection)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize("skew_s", [-3600, -5, 0, 5, 3600])
def test_the_first_call_goes_alone_and_tells_the_time(engine: Engine, skew_s: int) -> None:
    clock = Clock(engine)
    ledger = open_ledger(engine, clock, short=3)
    first = book(ledger)
    with pytest.raises(QuotaExhausted, match="a call is under way that tells Strava's time") as caught:
        book(ledger)
    assert caught.value.retry_at == clock.moment + seconds(1)
    clock.moment += seconds(0.4)
    ledger.settle(first, answered(clock, server_time=clock.moment + seconds(skew_s)))
    assert known(engine).offset_s == pytest.approx(skew_s, abs=1)
    # It counts in the window that Strava counted it in.
    assert book_all(ledger) == 2


def test_a_first_call_that_never_ends_does_not_hold_the_others_for_long(engine: Engine) -> None:
    clock = Clock(engine)
    ledger = open_ledger(engine, clock)
    began = book(ledger).reserved_at
    second = book(ledger, wait=timedelta(minutes=1)).reserved_at
    assert seconds(30) < second - began <= seconds(32)


def test_answers_without_a_date_hold_nobody(engine: Engine) -> None:
    clock = Clock(engine)
    ledger = open_ledger(engine, clock, short=5)
    ledger.settle(book(ledger), answered(clock, server_time=None))
    assert known(engine).offset_s is None
    assert book_all(ledger) == 4


def test_windows_are_stravas_not_ours(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    for _ in range(2):  # the clock agreed before: one answer is odd, two are news
        ledger.settle(book(ledger), answered(clock, server_time=clock.moment + HOUR))
    book(ledger)
    # The first two were booked here before that was known, and there as soon as it was.
    assert booked(engine, NOON, NOON + HOUR) == (2, 3)
    clock.moment = EDGE - seconds(10)
    assert book(ledger).windows[0].starts_at == NOON + HOUR


def test_one_odd_date_moves_no_window(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, server_time=clock.moment - HOUR))
    assert known(engine).checked_at is None
    # One call goes alone, by the old clock, and its answer ends the doubt.
    alone = book(ledger)
    refused(ledger)
    ledger.settle(alone, answered(clock))
    assert known(engine).is_trusted(clock.moment)
    assert known(engine).offset_s == pytest.approx(0, abs=1)
    assert booked(engine, NOON, NOON - HOUR) == (2, 1)


def test_the_clock_is_written_seldom(engine: Engine, clock: Clock) -> None:
    writes: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO ops.app_status"):
            writes.append(statement)

    ledger = open_ledger(engine, clock)
    for _ in range(60):
        reservation = book(ledger)
        clock.moment += seconds(0.4)
        ledger.settle(reservation, answered(clock))
        clock.moment += seconds(0.6)
    assert len(writes) <= 2


def test_a_clock_that_goes_back_an_hour_neither_overruns_nor_stalls_the_ledger(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3)
    for window in range(5):
        clock.jump(NOON + timedelta(minutes=15 * window + 1))
        for _ in range(3):
            ledger.settle(book(ledger), answered(clock))
    # It is 13:01 at Strava, and every window since 12:00 is full.
    clock.moment -= HOUR
    until = refused(ledger)
    assert timedelta(minutes=13) < until - clock.moment < timedelta(minutes=17)
    clock.moment = until
    reservation = book(ledger)
    assert reservation.windows[0].starts_at == NOON + HOUR + timedelta(minutes=15)
    ledger.settle(reservation, answered(clock, server_time=clock.moment + HOUR))
    assert known(engine).offset_s == pytest.approx(3600, abs=1)


def test_a_clock_that_goes_forward_an_hour_costs_one_429_at_most(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3)
    for _ in range(3):
        ledger.settle(book(ledger), answered(clock))
    clock.moment += HOUR
    alone = book(ledger)
    refused(ledger)
    ledger.settle(alone, answered(clock, 429, names_a_window=True, server_time=clock.moment - HOUR))
    # The others wait for the true window's end.
    assert EDGE < refused(ledger) - HOUR < EDGE + seconds(2)
