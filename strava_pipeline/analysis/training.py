"""Fitness, fatigue and form from the training load of each day.

Impulse-response model after Banister (1975), with the time constants and names of Coggan's performance management
chart (Allen and Coggan, "Training and Racing with a Power Meter", 3rd ed., 2019); monotony and strain after C. Foster,
"Monitoring training in athletes with reference to overtraining syndrome", Med. Sci. Sports Exerc. 30 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import finite_or_none
from strava_pipeline.analysis.track import Samples

FITNESS_DAYS = 42
FATIGUE_DAYS = 7
WEEK = 7


@dataclass(frozen=True)
class TrainingDay:
    """One day. ``load``: 100 for an hour at threshold; ``form``: fitness minus fatigue of the day before.

    ``monotony``: mean divided by standard deviation of the last seven loads; ``None`` when all seven are equal.
    """

    load: float
    fitness: float
    fatigue: float
    form: float
    week_load: float
    monotony: float | None
    strain: float | None


def training_days(
    loads: Samples, *, fitness: float = 0.0, fatigue: float = 0.0, before: Samples | None = None
) -> list[TrainingDay]:
    """Return the figures of consecutive days; ``loads``: one per day, shape (n,).

    To continue earlier days, give the ``fitness`` and ``fatigue`` of the last one, and the loads of up to six days
    ``before`` the first new day, oldest first.
    """
    fitnesses = _exponential_mean(loads, FITNESS_DAYS, fitness)
    fatigues = _exponential_mean(loads, FATIGUE_DAYS, fatigue)
    forms = np.concatenate(([fitness], fitnesses[:-1])) - np.concatenate(([fatigue], fatigues[:-1]))
    known = np.zeros(0) if before is None else before[-(WEEK - 1) :]
    padded = np.concatenate((np.zeros(WEEK - 1 - len(known)), known, loads))
    weeks = np.lib.stride_tricks.sliding_window_view(padded, WEEK)[: len(loads)]
    total, spread = weeks.sum(axis=1), weeks.std(axis=1)
    monotonies = np.divide(weeks.mean(axis=1), spread, out=np.full(len(loads), np.nan), where=spread > 0)
    columns = (loads, fitnesses, fatigues, forms, total, monotonies, total * monotonies)
    return [
        TrainingDay(load, fit, tired, form, week, finite_or_none(monotony), finite_or_none(strain))
        for load, fit, tired, form, week, monotony, strain in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _exponential_mean(loads: Samples, days: int, start: float) -> Samples:
    """Return the exponentially weighted mean with a time constant of ``days``."""
    share = 1 - np.exp(-1 / days)
    level = start
    levels = []
    for load in loads.tolist():
        level += share * (load - level)
        levels.append(level)
    return np.array(levels)
