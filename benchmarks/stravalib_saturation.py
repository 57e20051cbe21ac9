"""The saturated workers with stravalib's ``DefaultRateLimiter``, one instance each: started by ``quota_saturation``.

The limiter's sleep and clock are the simulation's. After a rejected call, a worker just makes the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from unittest import mock

import arrow  # type: ignore[import-not-found]  # comes with stravalib, in an environment of the benchmark's own
from stravalib.util import limiter  # type: ignore[import-not-found]  # see above

from benchmarks.saturated_workers import LATENCY_S, WORKERS, SaturatedWorkers, runs
from strava_pipeline_tests.strava_model import Simulation


def main() -> None:
    """Print 429s and use for each pattern and clock skew."""
    logging.disable(logging.WARNING)
    for workers in runs():
        simulation = workers.simulation
        with (
            mock.patch.object(limiter.time, "sleep", simulation.sleep),
            mock.patch.object(limiter.arrow, "utcnow", partial(_at, simulation)),
        ):
            workers.run([_caller(workers) for _ in range(WORKERS)])
        workers.figures("stravalib")


def _at(simulation: Simulation) -> object:
    return arrow.get(simulation.now)


def _caller(workers: SaturatedWorkers) -> Callable[[], None]:
    limit = limiter.DefaultRateLimiter()

    def call() -> None:
        latency = workers.chance.uniform(*LATENCY_S)
        counted = workers.chance.uniform(0.0, latency)
        workers.simulation.sleep(counted)
        _, headers = workers.strava.arrive(workers.strava_time)
        workers.simulation.sleep(latency - counted)
        limit(headers, "GET")

    return call


if __name__ == "__main__":
    main()
