"""The quota ledger: room is booked before a call is sent, in all its windows, or not at all."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, select

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.settings import QuotaScope, load_settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Pair, RateHeaders
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.waiting import SPREAD_SECONDS
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.warehouse.quota.ledgers import (
    DAY,
    EDGE,
    MIDNIGHT,
    NOON,
    QUARTER,
    TODAY,
    Clock,
    answered,
    book,
    book_all,
    booked,
    just_after,
    open_ledger,
    refused,
    windows,
)
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

# A share of the quota that is less than a call.
NOTHING = 1e-9


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
    until = refused(ledger)
    assert until == just_after(EDGE)
    clock.jump(until)
    assert book_all(ledger) == 3


def test_the_day_limit_holds_while_the_quarter_has_room(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3, long=4)
    for _ in range(2):
        book(ledger)
    clock.jump(clock.moment + timedelta(minutes=15))
    for _ in range(2):
        book(ledger)
    assert refused(ledger) == pytest.approx(MIDNIGHT, abs=timedelta(seconds=10))
    clock.jump(MIDNIGHT + timedelta(seconds=1))
    assert book_all(ledger) == 3


def test_a_call_without_an_answer_stays_booked_until_its_window_ends(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=2)
    ledger.settle(book(ledger), CallOutcome(status=None, duration_ms=5))
    book(ledger)  # its process died
    clock.moment += timedelta(minutes=9)
    assert refused(ledger) == just_after(EDGE)
    clock.jump(EDGE + timedelta(seconds=1))
    assert book_all(ledger) == 2


def test_a_call_that_was_never_sent_gives_its_room_back_once(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=2)
    clock.jump(EDGE - timedelta(seconds=10))
    kept, returned = book(ledger), book(ledger)
    for _ in range(2):
        ledger.release(returned)
    assert booked(engine, NOON, EDGE) == (1, 1)
    assert booked(engine, TODAY, length=DAY) == (1,)
    with engine.connect() as connection:
        assert connection.execute(select(api_calls.c.id)).scalars().all() == [kept.call_id]
    ledger.settle(kept, answered(clock))
    ledger.release(kept)
    assert booked(engine, NOON, EDGE) == (1, 0), "an answered call cannot be given back"


def test_a_fresh_window_starts_with_the_limit_that_strava_named_last(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3)
    ledger.settle(book(ledger), answered(clock, rates=RateHeaders(read_limit=Pair(5, 1000))))
    clock.jump(NOON + timedelta(hours=3))
    assert book_all(ledger) == 5


@pytest.mark.parametrize(("capped", "named", "room"), [(False, 5, 5), (False, 2, 2), (True, 5, 3), (True, 2, 2)])
def test_stravas_limit_is_adopted_up_to_the_operators(
    engine: Engine, clock: Clock, capped: bool, named: int, room: int
) -> None:
    ledger = open_ledger(engine, clock, short=3, short_capped=capped)
    ledger.settle(book(ledger), answered(clock, rates=RateHeaders(read_limit=Pair(named, 1000))))
    assert book_all(ledger) == room - 1


def test_only_limits_set_by_the_operator_are_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RateLimits.from_settings(load_settings()) == RateLimits(100, 1000, QUARTER, DAY)
    monkeypatch.setenv("STRAVA_QUOTA_SHORT_LIMIT", "50")
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    assert RateLimits.from_settings(load_settings()) == RateLimits(
        50, 1000, QUARTER, DAY, short_capped=True, scope=QuotaScope.ATHLETE
    )


def test_a_backfill_leaves_the_reserve_to_live_calls_and_gets_it_when_the_window_runs_out(
    engine: Engine, clock: Clock
) -> None:
    ledger = open_ledger(engine, clock, short=10, upkeep_share=NOTHING)
    clock.jump(NOON + timedelta(seconds=1))
    assert (book_all(ledger, Lane.BACKFILL), book_all(ledger, Lane.RECONCILE), book_all(ledger)) == (8, 0, 2)
    clock.jump(EDGE + timedelta(seconds=1))
    assert book_all(ledger, Lane.BACKFILL) == 8
    until = refused(ledger, Lane.BACKFILL)
    # Two are left, and the reserve of three falls to two when a third of the window is over.
    assert until == pytest.approx(EDGE + timedelta(seconds=300), abs=timedelta(seconds=1))
    clock.jump(until)
    assert book_all(ledger, Lane.BACKFILL) == 1
    assert refused(ledger, Lane.BACKFILL) == pytest.approx(EDGE + timedelta(seconds=600), abs=timedelta(seconds=1))


def test_upkeep_in_all_processes_together_uses_its_share_and_backfills_leave_it(engine: Engine, clock: Clock) -> None:
    first, second = open_ledger(engine, clock), open_ledger(engine, clock)
    clock.jump(NOON + timedelta(seconds=1))
    # Of a hundred, thirty are kept for live calls; a quarter of the rest is upkeep's.
    assert book_all(first, Lane.BACKFILL) == 53
    assert (book_all(first, Lane.RECONCILE), book_all(second, Lane.RECONCILE)) == (18, 0)
    assert (book_all(first), book_all(second, Lane.BACKFILL)) == (29, 0)
    clock.jump(EDGE + timedelta(seconds=1))
    assert book_all(second, Lane.RECONCILE) == 18
    # The share is the day's as well.
    assert refused(second, Lane.RECONCILE) > clock.moment
    row = windows(engine, DAY)[TODAY]
    assert (row.booked, row.booked_live, row.booked_reconcile) == (118, 29, 36)


def test_calls_of_each_lane_are_counted_where_they_may_count(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)

    def counts(start: datetime) -> tuple[int, int, int]:
        row = windows(engine)[start]
        return row.booked, row.booked_live, row.booked_reconcile

    clock.jump(EDGE - timedelta(seconds=10))
    held = {lane: book(ledger, lane) for lane in Lane}
    assert counts(NOON) == counts(EDGE) == (3, 1, 1)
    ledger.settle(held[Lane.RECONCILE], answered(clock))
    ledger.release(held[Lane.LIVE])
    assert (counts(NOON), counts(EDGE)) == ((2, 0, 1), (1, 0, 0))
    # A call that took longer than any may counts in a window in which it was not booked.
    late = book(ledger, Lane.RECONCILE)
    clock.jump(EDGE + timedelta(minutes=15, seconds=30))
    ledger.settle(late, answered(clock))
    assert windows(engine)[EDGE + timedelta(minutes=15)].booked_reconcile == 1


def test_the_days_reserve_is_learned_from_the_live_calls_of_the_last_two_weeks(engine: Engine, clock: Clock) -> None:
    busy_days = [
        {"lane": lane, "endpoint": "/athlete", "reserved_at": TODAY - timedelta(days=day, hours=-18)}
        for day in range(1, 11)
        for lane, calls in (("live", 20), ("backfill", 500))
        for _ in range(calls)
    ]
    with engine.begin() as connection:
        connection.execute(insert(api_calls), busy_days)
    ledger, used = open_ledger(engine, clock, short=10_000, upkeep_share=NOTHING), 0
    # Of a thousand, 1.3 times twenty calls are kept until they came, at six in the evening, and a hundred for a burst.
    for hours, kept in ((0, 126), (12, 126), (18, 126), (18.125, 113), (18.25, 100), (23, 100)):
        clock.jump(TODAY + timedelta(hours=hours))
        used += book_all(ledger, Lane.BACKFILL)
        assert used == 1000 - kept


def test_limits_of_athletes_are_kept_apart_and_so_are_their_blocks(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=3, scope=QuotaScope.ATHLETE)
    first = book(ledger, athlete_id=1)
    assert first.scope == "athlete:1"
    assert (book_all(ledger, athlete_id=1), book_all(ledger, athlete_id=2)) == (2, 3)
    ledger.settle(first, answered(clock, 429, names_a_window=True, rates=RateHeaders(read_limit=Pair(9, 1000))))
    assert refused(ledger, athlete_id=1) == just_after(EDGE)
    assert windows(engine, scope="athlete:2")[NOON].blocked_until is None
    assert book_all(ledger, athlete_id=3) == 3
    assert windows(engine) == {}


def test_waiting_goes_in_slices_and_says_once_a_minute_how_long_and_why(
    engine: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_ledger(engine, clock, short=1)
    book(ledger)
    with caplog.at_level(logging.INFO):
        reservation = book(ledger, wait=timedelta(minutes=20))
    assert reservation.reserved_at == just_after(EDGE)
    assert max(clock.slept) == 20
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "waiting 601 s for Strava's quota: the quarter hour is used up (lane live, /activities/{id})"
    assert len(lines) == 11


def test_short_waits_of_many_requests_are_logged_once_a_minute(
    engine: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    limits = RateLimits(1, 900, 20, DAY)
    ledger = PostgresLedger(engine, limits, clock=clock, sleep=clock.sleep, spread=lambda: 0.0)
    book(ledger)
    with caplog.at_level(logging.INFO):
        for _ in range(12):
            book(ledger, wait=timedelta(minutes=20))
    lines = [line for line in caplog.messages if line.startswith("waiting ")]
    assert len(clock.slept) >= 12
    assert 2 <= len(lines) <= 1 + sum(clock.slept) / 60 < 12


def test_a_wait_that_is_too_long_does_not_begin(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=1)
    book(ledger)
    with pytest.raises(QuotaExhausted, match="the quarter hour is used up") as caught:
        book(ledger, wait=timedelta(minutes=10))
    assert caught.value.retry_at == just_after(EDGE)
    assert clock.slept == []


def test_waiting_processes_come_back_a_little_apart_and_never_early(engine: Engine, clock: Clock) -> None:
    ledger = PostgresLedger(engine, RateLimits(1, 9, QUARTER, DAY), clock=clock, sleep=clock.sleep)
    book(ledger)
    until, began = refused(ledger), clock.moment
    back = []
    for _ in range(5):
        clock.moment = began
        reservation = book(ledger, wait=timedelta(minutes=20))
        back.append((reservation.reserved_at - until).total_seconds())
        ledger.release(reservation)
    assert len(set(back)) == 5
    assert 0 <= min(back) < max(back) <= SPREAD_SECONDS


def test_a_booking_tells_the_time_at_which_its_turn_came(engine: Engine) -> None:
    ledger = PostgresLedger(engine, RateLimits(9, 9, QUARTER, DAY))
    with ThreadPoolExecutor() as pool, engine.begin() as holder:
        acquire(holder, Lock.QUOTA)
        waiting = pool.submit(book, ledger)
        wait_for_a_lock(engine, 1)
        released_at = now(holder)
        holder.commit()
        assert waiting.result(PATIENCE_SECONDS).reserved_at > released_at
