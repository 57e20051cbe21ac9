"""Callers of the real ledger in simulated time: their calls count at the model of Strava."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.outage import Patience
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, RateHeaders
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline_tests.strava_model import Simulation, StravaModel

LONGEST = timedelta(seconds=30)
FOREVER = timedelta(days=3)
# From a call without an answer to the next one of the same caller.
PAUSE_S = 5.0


@dataclass
class SimulatedCallers:
    """What all callers share; ``skew_s``: Strava's clock minus simulated time, which the database's clock tells.

    ``database_step_s``: by how much the database's clock was set forward in the midst of it all. ``outage``: from when
    to when (simulated time) nobody gets an answer.
    """

    simulation: Simulation
    strava: StravaModel
    chance: random.Random
    skew_s: float = 0.0
    latency_s: tuple[float, float] = (0.05, 2.0)
    database_step_s: float = 0.0
    outage: tuple[float, float] = (math.inf, math.inf)

    def ledger(self, engine: Engine, *, goes_first: bool = False) -> PostgresLedger:
        """The ledger as one process has it."""
        model = self.strava
        rate_limits = RateLimits(model.short_limit, model.long_limit, model.short_s, model.long_s)
        return PostgresLedger(
            engine,
            rate_limits,
            clock=self._database_time,
            sleep=self.simulation.sleep,
            spread=lambda: self.chance.uniform(0.0, 0.5),
            goes_first=goes_first,
        )

    def call(self, ledger: PostgresLedger, lane: Lane, athlete_id: int = 1) -> float:
        """One call from reservation to settlement; how long it waited for room, s. It outlasts an outage."""
        while True:
            began = self.simulation.now
            reservation = ledger.reserve(
                lane,
                "/activities/{id}",
                athlete_id,
                longest=LONGEST,
                max_wait=FOREVER,
                patience=Patience(FOREVER.total_seconds()),
            )
            waited = self.simulation.now - began
            if not self.outage[0] <= self.simulation.now < self.outage[1]:
                break
            ledger.settle(reservation, CallOutcome(None, 1.0, answered=False, reason="no connection"))
            self.simulation.sleep(PAUSE_S)
        latency = self.chance.uniform(*self.latency_s)
        counted, written = sorted(self.chance.uniform(0.0, latency) for _ in range(2))
        self.simulation.sleep(counted)
        accepted, headers = self.strava.arrive(self.strava_time)
        self.simulation.sleep(written - counted)
        date = datetime.fromtimestamp(int(self.strava_time), UTC)
        self.simulation.sleep(latency - written)
        ledger.settle(
            reservation,
            CallOutcome(
                200 if accepted else 429,
                latency * 1000,
                answered=True,
                server_time=date,
                rates=RateHeaders.parse(headers),
                limit_reached=not accepted,
                names_a_window=not accepted,
            ),
        )
        return waited

    @property
    def strava_time(self) -> float:
        return self.simulation.now + self.skew_s

    def _database_time(self, _: Connection) -> datetime:
        return datetime.fromtimestamp(self.simulation.now + self.database_step_s, UTC)
