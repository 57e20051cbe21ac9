"""The real ledger against a model of Strava's windows, in simulated time: no 429 as the only consumer, full use."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, func, select

from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline_tests.quota_callers import LONGEST, SimulatedCallers
from strava_pipeline_tests.strava_model import EPOCH_2026, Simulation, StravaModel

QUARTER_S, DAY_S = 900, 86_400
WORKERS = 8
LIMIT = 24
FIRST = int(EPOCH_2026) // QUARTER_S


def callers(start: float, strava: StravaModel, skew_s: float = 0.0) -> SimulatedCallers:
    """Workers of a process each, from a time of Strava's clock on."""
    chance = random.Random(f"{start} {skew_s}")  # noqa: S311  it shall be repeatable
    return SimulatedCallers(Simulation(start - skew_s), strava, chance, skew_s)


def saturate(world: SimulatedCallers, engine: Engine, lane: Lane, until: float) -> None:
    """Eight workers take all they get until a time of Strava's clock."""

    def work() -> None:
        ledger = world.ledger(engine)
        while True:
            world.call(ledger, lane)

    for _ in range(WORKERS):
        world.simulation.start(work)
    world.simulation.run(until - world.skew_s - 0.001)


@pytest.mark.parametrize("skew_s", [-3600.0, -5.0, -1.5, 0.0, 1.5, 5.0, 3600.0])
def test_eight_workers_fill_every_window_and_are_never_rejected(engine: Engine, skew_s: float) -> None:
    strava = StravaModel(LIMIT, 10_000)
    # Work begins so shortly before an edge that it runs over it.
    saturate(callers(EPOCH_2026 - 2.5, strava, skew_s), engine, Lane.LIVE, EPOCH_2026 + 2 * QUARTER_S)
    assert strava.rejected == 0
    before, first, second = (strava.accepted[FIRST + number] for number in (-1, 0, 1))
    # A call that touched the edge may cost its room on both sides, but no more than that; and once only.
    assert before + first >= LIMIT
    assert second == LIMIT


def test_a_backfill_alone_uses_the_reserve_as_well(engine: Engine) -> None:
    strava = StravaModel(LIMIT, 10_000)
    saturate(callers(EPOCH_2026, strava), engine, Lane.BACKFILL, EPOCH_2026 + QUARTER_S)
    assert (strava.accepted[FIRST], strava.rejected) == (LIMIT, 0)


def test_the_day_is_used_up_to_its_last_call_and_the_next_one_begins_with_a_full_limit(engine: Engine) -> None:
    strava = StravaModel(LIMIT, day_limit := 40)
    saturate(callers(EPOCH_2026 - 1_000, strava), engine, Lane.LIVE, EPOCH_2026 + 2 * QUARTER_S)
    assert strava.rejected == 0
    day = int(EPOCH_2026) // DAY_S
    assert (strava.used[DAY_S, day - 1], strava.used[DAY_S, day]) == (day_limit, day_limit)


@pytest.mark.parametrize("step_s", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_step_of_our_clock_costs_one_429_at_most_and_no_window(engine: Engine, step_s: float) -> None:
    strava = StravaModel(LIMIT, 10_000)
    world = callers(EPOCH_2026, strava)

    def step() -> None:
        world.database_step_s = step_s

    world.simulation.start(step, at=EPOCH_2026 + 600)
    saturate(world, engine, Lane.LIVE, EPOCH_2026 + 4 * QUARTER_S)
    assert strava.rejected <= 1
    # A clock that was set back is behind by up to two minutes until the next answer, not by the hour.
    assert sum(strava.accepted[FIRST + number] for number in range(4)) >= 4 * LIMIT - 1


def test_processes_that_die_with_a_reservation_cost_its_room_once_and_no_429(engine: Engine) -> None:
    strava = StravaModel(LIMIT, 10_000)
    world = callers(EPOCH_2026, strava)
    doomed = world.ledger(engine)

    def die_while_calling() -> None:
        for _ in range(5):
            doomed.reserve(Lane.LIVE, "/athlete", 1, longest=LONGEST, max_wait=timedelta(hours=1))
            strava.arrive(world.strava_time)

    world.simulation.start(die_while_calling, at=EPOCH_2026 + 1)
    saturate(world, engine, Lane.LIVE, EPOCH_2026 + 2 * QUARTER_S)
    assert strava.rejected == 0
    assert [strava.accepted[FIRST + number] for number in range(2)] == [LIMIT, LIMIT]


def test_live_calls_find_room_while_a_backfill_takes_all_it_gets(engine: Engine) -> None:
    strava = StravaModel(LIMIT, 10_000)
    world = callers(EPOCH_2026, strava)
    waited: list[float] = []
    live = world.ledger(engine)

    def call() -> None:
        began = world.simulation.now
        world.call(live, Lane.LIVE)
        waited.append(world.simulation.now - began)

    for number in range(6):
        world.simulation.start(call, at=EPOCH_2026 + 100 * (number + 1))
    saturate(world, engine, Lane.BACKFILL, EPOCH_2026 + QUARTER_S)
    assert len(waited) == 6
    assert max(waited) < 5
    assert (strava.accepted[FIRST], strava.rejected) == (LIMIT, 0)


def test_eight_workers_outlast_an_outage_of_two_hours_with_few_calls(engine: Engine) -> None:
    world = callers(EPOCH_2026, StravaModel(1000, 100_000))
    begins, ends = world.outage = (EPOCH_2026 + 60, EPOCH_2026 + 60 + 2 * 3600)
    answered_at: dict[int, list[float]] = {number: [] for number in range(WORKERS)}

    def work(number: int) -> None:
        ledger = world.ledger(engine)
        while True:
            world.call(ledger, Lane.BACKFILL)
            answered_at[number].append(world.simulation.now)
            world.simulation.sleep(10)

    for number in range(WORKERS):
        world.simulation.start(partial(work, number))
    world.simulation.run(ends + 600)
    with engine.connect() as connection:
        unanswered = connection.execute(
            select(func.count()).where(api_calls.c.status.is_(None), api_calls.c.settled_at.is_not(None))
        ).scalar_one()
    assert 25 <= unanswered <= 35 + WORKERS * 7, "each worker's until it is known, and then one each five minutes"
    for moments in answered_at.values():
        assert not [moment for moment in moments if begins + 2 < moment < ends]
        assert min(moment for moment in moments if moment >= ends) <= ends + 330
    assert world.strava.rejected == 0
