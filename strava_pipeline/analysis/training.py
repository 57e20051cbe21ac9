"""Fitness, fatigue and form from the load of each day.

Impulse and response after Banister (1975), with the time constants and names of Coggan's performance management
chart (Allen and Coggan, "Training and Racing with a Power Meter", 3rd ed., 2019); monotony and strain after C. Foster,
"Monitoring training in athletes with reference to overtraining syndrome", Med. Sci. Sports Exerc. 30 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import number
from strava_pipeline.analysis.track import Samples

FITNESS_DAYS = 42
FATIGUE_DAYS = 7
WEEK = 7


@dataclass(frozen=True)
class TrainingDay:
    """One day: ``load`` (100: an hour at threshold); ``form`` is fitness minus fatigue of the day before.

    ``monotony``: mean over standard deviation of the last seven days; ``None`` when all seven are alike.
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
    """Figures of consecutive days; ``loads`` per day, shape (n,).

    To go on from a day in the past, give its ``fitness`` and ``fatigue``, and the loads of up to six days
    ``before`` the first one, oldest first.
    """
    fitnesses = _followed(loads, FITNESS_DAYS, fitness)
    fatigues = _followed(loads, FATIGUE_DAYS, fatigue)
    forms = np.concatenate(([fitness], fitnesses[:-1])) - np.concatenate(([fatigue], fatigues[:-1]))
    known = np.zeros(0) if before is None else before[-(WEEK - 1) :]
    padded = np.concatenate((np.zeros(WEEK - 1 - len(known)), known, loads))
    weeks = np.lib.stride_tricks.sliding_window_view(padded, WEEK)[: len(loads)]
    total, spread = weeks.sum(axis=1), weeks.std(axis=1)
    monotonies = np.divide(weeks.mean(axis=1), spread, out=np.full(len(loads), np.nan), where=spread > 0)
    columns = (loads, fitnesses, fatigues, forms, total, monotonies, total * monotonies)
    return [
        TrainingDay(load, fit, tired, form, week, number(monotony), number(strain))
        for load, fit, tired, form, week, monotony, strain in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _followed(loads: Samples, days: int, start: float) -> Samples:
    """Exponentially weighted mean that forgets with a time constant of ``days``."""
    share = 1 - np.exp(-1 / days)
    level = start
    levels = []
    for load in loads.tolist():
        level += share * (load - level)
        levels.append(level)
    return np.array(levels)
