"""Measures how long live calls wait, with and without reserve, beside upkeep and a backfill that take all they get.

Simulates twenty days with the real ledger, 100 requests a quarter hour and 1,000 a day. Live: 60 activities a day, a
third of which follow another within two minutes, and every fifth day 40 more within half an hour, as after a club
ride; each needs three calls, one after the other. Activities come in three patterns: spread over the whole day; in a
morning and an evening peak, as people ride; or all after work, which is hardest, since the day is nearly over by then.
A burst needs more than the short limit, so its figures are also shown alone. An activity that still waits at the end
counts with its wait until then. Takes about fifteen minutes.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Literal
from unittest import mock

from sqlalchemy import Engine, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.strava.quota.lanes import RateLimits, Reserve
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.quota import waiting
from strava_pipeline_tests.quota_callers import SimulatedCallers
from strava_pipeline_tests.strava_model import EPOCH_2026, Simulation, StravaModel

Pattern = Literal["spread", "peaks", "evening"]
DAYS = 20
DAY_S = 86_400
QUARTER_S = 900.0
LIMIT, DAY_LIMIT = 100, 1000
ACTIVITIES = 60
IN_COMPANY = 1 / 3
COMPANY_WITHIN_S = 120.0
CALLS = 3
BURST_EVERY_DAYS = 5
BURST = 40
BURST_WITHIN_S = 1_800.0
# Hours of the day: mean and spread of each peak, and its share of the activities.
PEAKS: dict[Pattern, tuple[tuple[float, float, float], ...]] = {
    "peaks": ((7.5, 1.5, 0.4), (18.0, 2.0, 0.6)),
    "evening": ((20.0, 1.0, 1.0),),
}
PATTERNS: tuple[Pattern, ...] = ("spread", "peaks", "evening")
LATENCY_S = (0.2, 1.0)
SEED = 20_262


@dataclass
class Waits:
    """Seconds that each activity waited for quota, summed over its calls; and the calls of the other lanes."""

    usual: list[float] = field(default_factory=list)
    burst: list[float] = field(default_factory=list)
    calls: Counter[Lane] = field(default_factory=Counter)


def main() -> None:
    """Print waits and unused calls for each pattern, with and without the reserve."""
    with migrated_database() as url:
        engine = open_engine(url)
        without_reserve = mock.patch.object(RateLimits, "reserve", return_value=Reserve((0.0, 0.0)))
        for pattern, held in product(PATTERNS, (True, False)):
            with engine.begin() as connection:
                connection.execute(text("TRUNCATE ops.api_calls, ops.quota_windows, ops.app_status, ops.outages"))
            # The ledger says exactly when there is room: looking earlier would only slow the simulation down.
            with nullcontext() if held else without_reserve, mock.patch.object(waiting, "SLICE_SECONDS", QUARTER_S):
                waits, strava = _simulate(engine, pattern)
            _print(f"{pattern}, {'with reserve' if held else 'without'}", waits, strava, held=held)
        engine.dispose()


def _print(name: str, waits: Waits, strava: StravaModel, *, held: bool) -> None:
    every = waits.usual + waits.burst
    first = int(EPOCH_2026) // DAY_S
    unused = [DAY_LIMIT - strava.used[DAY_S, first + day] for day in range(DAYS)]
    show(f"{name}: live wait p50", statistics.median(every), "s")
    show(f"{name}: live wait p95", _p95(every), "s", "<= 120" if held else "")
    show(f"{name}: live wait p95, bursts left out", _p95(waits.usual), "s")
    show(f"{name}: live wait p95, bursts only", _p95(waits.burst), "s")
    show(f"{name}: unused calls per day", 100 * statistics.mean(unused) / DAY_LIMIT, "%", "<= 1" if held else "")
    show(f"{name}: upkeep's calls per day", waits.calls[Lane.RECONCILE] / DAYS)
    show(f"{name}: backfill's calls per day", waits.calls[Lane.BACKFILL] / DAYS)
    show(f"{name}: 429s", strava.rejected, target="0")


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[18]


def _simulate(engine: Engine, pattern: Pattern) -> tuple[Waits, StravaModel]:
    chance = random.Random(SEED)
    arrivals = _arrivals(random.Random(SEED), pattern)
    simulation, strava, waits = Simulation(EPOCH_2026), StravaModel(LIMIT, DAY_LIMIT), Waits()
    callers = SimulatedCallers(simulation, strava, chance, latency_s=LATENCY_S)
    live = callers.ledger(engine)

    def fill(lane: Lane) -> None:
        ledger = callers.ledger(engine)
        while True:
            waits.calls[lane] += 1
            callers.call(ledger, lane)

    waiting: dict[int, tuple[float, bool]] = {}

    def arrive(number: int, is_burst: bool) -> None:
        waiting[number] = simulation.now, is_burst
        wait = sum(callers.call(live, Lane.LIVE) for _ in range(CALLS))
        del waiting[number]
        (waits.burst if is_burst else waits.usual).append(wait)

    simulation.start(partial(fill, Lane.BACKFILL))
    simulation.start(partial(fill, Lane.RECONCILE))
    for number, (at, is_burst) in enumerate(arrivals):
        simulation.start(partial(arrive, number, is_burst), at=at)
    end = EPOCH_2026 + DAYS * DAY_S - 0.001
    simulation.run(end)
    for began, is_burst in waiting.values():
        (waits.burst if is_burst else waits.usual).append(end - began)
    return waits, strava


def _arrivals(chance: random.Random, pattern: Pattern) -> list[tuple[float, bool]]:
    """When each live activity comes (epoch s), and whether it belongs to a burst."""
    arrivals = []
    for day in range(DAYS):
        midnight = EPOCH_2026 + day * DAY_S
        usual = [_time_of_day(chance, pattern) for _ in range(round(ACTIVITIES * (1 - IN_COMPANY)))]
        company = chance.sample(usual, ACTIVITIES - len(usual))
        usual += [min(DAY_S - 1, at + chance.uniform(0, COMPANY_WITHIN_S)) for at in company]
        arrivals += [(midnight + at, False) for at in usual]
        if (day + 1) % BURST_EVERY_DAYS == 0:
            began = chance.uniform(0, DAY_S - BURST_WITHIN_S)
            arrivals += [(midnight + began + chance.uniform(0, BURST_WITHIN_S), True) for _ in range(BURST)]
    return sorted(arrivals)


def _time_of_day(chance: random.Random, pattern: Pattern) -> float:
    if pattern == "spread":
        return chance.uniform(0, DAY_S)
    peaks = PEAKS[pattern]
    mean, spread, _ = chance.choices(peaks, weights=[share for *_, share in peaks])[0]
    return min(DAY_S - 1.0, max(0.0, 3600 * chance.gauss(mean, spread)))


if __name__ == "__main__":
    main()
