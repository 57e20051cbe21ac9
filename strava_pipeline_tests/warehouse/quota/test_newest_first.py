"""A new athlete's newest month goes before everybody's older months, and nobody else stands still for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.quota.ledger import ANNOUNCED, PostgresLedger
from strava_pipeline.warehouse.quota.waiting import SLICE_SECONDS
from strava_pipeline_tests.quota_callers import SimulatedCallers
from strava_pipeline_tests.strava_model import EPOCH_2026, Simulation, StravaModel
from strava_pipeline_tests.warehouse.quota.ledgers import (
    EDGE,
    Clock,
    book,
    book_all,
    open_ledger,
    refused,
)

OTHER = 8
NEWEST = "newest month goes first"
QUARTER_S = 900
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Ledgers:
    """Ledgers of two processes: one works on a newest month, the other for somebody else."""

    clock: Clock
    newest: PostgresLedger
    others: PostgresLedger

    def book_newest(self) -> None:
        book(self.newest, Lane.BACKFILL)

    def reason(self) -> str:
        """Why the others' backfill is refused."""
        with pytest.raises(QuotaExhausted) as caught:
            book(self.others, Lane.BACKFILL, athlete_id=OTHER)
        return str(caught.value)


@pytest.fixture
def opened(engine: Engine, clock: Clock) -> Callable[..., Ledgers]:
    def open_both(**limits: Any) -> Ledgers:
        newest = open_ledger(engine, clock, goes_first=True, **limits)
        return Ledgers(clock, newest, open_ledger(engine, clock, **limits))

    return open_both


def test_other_backfills_wait_and_urgent_calls_do_not(engine: Engine, opened: Callable[..., Ledgers]) -> None:
    both = opened()
    book(both.others, Lane.BACKFILL, athlete_id=OTHER)
    both.book_newest()
    assert NEWEST in both.reason()
    assert refused(both.others, Lane.BACKFILL) == both.clock.moment + ANNOUNCED
    book(both.others, Lane.LIVE, athlete_id=OTHER)
    book(both.others, Lane.RECONCILE, athlete_id=OTHER)
    # Two new athletes do not wait for each other.
    book(open_ledger(engine, both.clock, goes_first=True), Lane.BACKFILL, athlete_id=OTHER)
    both.book_newest()


def test_others_go_on_soon_after_its_last_call_or_its_death(opened: Callable[..., Ledgers]) -> None:
    both = opened()
    for _ in range(3):
        both.book_newest()
        both.clock.moment += ANNOUNCED - SECOND
        assert NEWEST in both.reason()
    both.clock.moment += SECOND
    book(both.others, Lane.BACKFILL, athlete_id=OTHER)


def test_it_lasts_longer_than_the_pauses_of_a_newest_month_that_waits() -> None:
    assert timedelta(seconds=2 * SLICE_SECONDS) < ANNOUNCED < timedelta(minutes=1)


def test_a_newest_month_that_waits_for_room_gets_it_first(opened: Callable[..., Ledgers]) -> None:
    both = opened()
    book_all(both.others)
    until = refused(both.newest, Lane.BACKFILL)
    both.clock.jump(until - timedelta(seconds=SLICE_SECONDS))
    assert refused(both.newest, Lane.BACKFILL) == pytest.approx(until, abs=10 * SECOND)
    both.clock.jump(until + SECOND)
    both.book_newest()
    assert NEWEST in both.reason()


def test_in_a_new_quarter_hour_it_still_goes_first(opened: Callable[..., Ledgers]) -> None:
    both = opened()
    both.clock.jump(EDGE - timedelta(seconds=35))
    both.book_newest()
    both.clock.jump(EDGE + timedelta(seconds=5))
    assert NEWEST in both.reason()


def test_where_limits_are_the_athletes_own_nobody_else_waits(opened: Callable[..., Ledgers]) -> None:
    both = opened(scope=QuotaScope.ATHLETE)
    both.book_newest()
    refused(both.others, Lane.BACKFILL)
    book(both.others, Lane.BACKFILL, athlete_id=OTHER)


def test_it_leaves_the_reserve_to_live_calls(opened: Callable[..., Ledgers]) -> None:
    both = opened(short=10)
    assert 0 < book_all(both.newest, Lane.BACKFILL) < 10
    book(both.others, Lane.LIVE)


def test_a_newest_month_takes_a_minute_while_four_backfills_take_all_they_get(engine: Engine) -> None:
    calls, chance = 40, random.Random(1)  # noqa: S311  no secret
    simulation, strava = Simulation(EPOCH_2026), StravaModel(100, 1000)
    callers = SimulatedCallers(simulation, strava, chance, latency_s=(0.2, 1.0))
    done: dict[str, float] = {}

    def fill(athlete_id: int) -> None:
        ledger = callers.ledger(engine)
        while simulation.now < EPOCH_2026 + 2 * QUARTER_S:
            callers.call(ledger, Lane.BACKFILL, athlete_id)

    def newest() -> None:
        ledger = callers.ledger(engine, goes_first=True)
        for _ in range(calls):
            callers.call(ledger, Lane.BACKFILL, 99)
        done["newest"] = simulation.now

    for athlete_id in range(4):
        simulation.start(partial(fill, athlete_id))
    # By then the quarter hour is used up, but for the reserve.
    connected = EPOCH_2026 + QUARTER_S - 120
    simulation.start(newest, at=connected)
    simulation.run(EPOCH_2026 + 2 * QUARTER_S)
    room = EPOCH_2026 + QUARTER_S
    assert done["newest"] < room + 60
    assert strava.rejected == 0
