"""How long live calls wait beside a backfill that takes all it gets, with and without the reserve for them.

Twenty simulated days with the real ledger, 100 requests a quarter hour and 1,000 a day. Live: 60 activities a day
at random times, a third of them in company (another one within two minutes), and every fifth day 40 more within
half an hour, as after a club ride; three calls each, one after the other. That hour of a burst asks for more than
the short limit allows, so its figures stand apart, too. Takes about five minutes.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field
from unittest import mock

from sqlalchemy import Engine, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.strava import lanes
from strava_pipeline.strava.quota import Lane
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.quota_callers import SimulatedCallers
from strava_pipeline_tests.strava_model import EPOCH_2026, Simulation, StravaModel

DAYS = 20
DAY_S = 86_400
LIMIT, DAY_LIMIT = 100, 1000
ACTIVITIES = 60
IN_COMPANY = 1 / 3
COMPANY_WITHIN_S = 120.0
CALLS = 3
BURST_EVERY_DAYS = 5
BURST = 40
BURST_WITHIN_S = 1_800.0
LATENCY_S = (0.2, 1.0)
SEED = 20_262


@dataclass
class Waits:
    """Seconds that activities waited for quota, all their calls together."""

    usual: list[float] = field(default_factory=list)
    burst: list[float] = field(default_factory=list)


def main() -> None:
    """Print waits and unused calls for both."""
    with migrated_database() as url:
        engine = open_engine(url)
        for name, shares in (("with reserve", {}), ("without", dict.fromkeys(Lane, 0.0))):
            with engine.begin() as connection:
                connection.execute(text("TRUNCATE ops.api_calls, ops.quota_windows, ops.app_status"))
            with mock.patch.dict(lanes.RESERVE_SHARE, shares):
                waits, strava = _simulate(engine)
            _print(name, waits, strava, held=name == "with reserve")
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
    show(f"{name}: 429s", strava.rejected, target="0")


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[18]


def _simulate(engine: Engine) -> tuple[Waits, StravaModel]:
    chance = random.Random(SEED)
    arrivals = _arrivals(random.Random(SEED))
    simulation, strava, waits = Simulation(EPOCH_2026), StravaModel(LIMIT, DAY_LIMIT), Waits()
    callers = SimulatedCallers(simulation, strava, chance, latency_s=LATENCY_S)
    backfill, live = callers.ledger(engine), callers.ledger(engine)

    def fill() -> None:
        while True:
            callers.call(backfill, Lane.BACKFILL)

    def arrive(is_burst: bool) -> None:
        began = simulation.now
        for _ in range(CALLS):
            callers.call(live, Lane.LIVE)
        # What Strava itself took is half a second a call, more or less, and no waiting.
        wait = max(0.0, simulation.now - began - CALLS * sum(LATENCY_S) / 2)
        (waits.burst if is_burst else waits.usual).append(wait)

    simulation.start(fill)
    for at, is_burst in arrivals:
        simulation.start(lambda is_burst=is_burst: arrive(is_burst), at=at)  # type: ignore[misc]  # the default is the point
    simulation.run(EPOCH_2026 + DAYS * DAY_S - 0.001)
    return waits, strava


def _arrivals(chance: random.Random) -> list[tuple[float, bool]]:
    """When live activities come, and whether they belong to a burst."""
    arrivals = []
    for day in range(DAYS):
        midnight = EPOCH_2026 + day * DAY_S
        usual = [chance.uniform(0, DAY_S) for _ in range(round(ACTIVITIES * (1 - IN_COMPANY)))]
        company = chance.sample(usual, ACTIVITIES - len(usual))
        usual += [min(DAY_S - 1, at + chance.uniform(0, COMPANY_WITHIN_S)) for at in company]
        arrivals += [(midnight + at, False) for at in usual]
        if (day + 1) % BURST_EVERY_DAYS == 0:
            began = chance.uniform(0, DAY_S - BURST_WITHIN_S)
            arrivals += [(midnight + began + chance.uniform(0, BURST_WITHIN_S), True) for _ in range(BURST)]
    return sorted(arrivals)


if __name__ == "__main__":
    main()
