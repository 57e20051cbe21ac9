"""Keeps an athlete's training load up to date, from the first changed day on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine

from strava_pipeline.analysis.training import WEEK, training_days
from strava_pipeline.warehouse.analysis.training_load import (
    StoredDay,
    active_days,
    lock_training_load,
    replace_days,
    stored_days,
)
from strava_pipeline.warehouse.engine import now

Row = dict[str, Any]
# Loads that differ by less are equal: the order of a sum changes its last digits.
SAME_LOAD = 1e-6


def update_training_load(engine: Engine, athlete_id: int, until: date) -> int:
    """Compute training load from the first changed day to ``until`` or the last activity; returns how many days.

    One transaction under a lock of the athlete: of two calls at once the second finds nothing changed.
    """
    with engine.begin() as connection:
        lock_training_load(connection, athlete_id)
        active = active_days(connection, athlete_id)
        stored = stored_days(connection, athlete_id)
        days = _days(active, until)
        kept = _unchanged(days, active, stored)
        if kept == len(days) == len(stored):
            return 0
        before = stored[:kept]
        rows = _computed(days[kept:], active, before) if kept < len(days) else []
        moment = now(connection)
        first = before[-1].day + timedelta(days=1) if before else None
        replace_days(
            connection, athlete_id, first, [row | {"athlete_id": athlete_id, "computed_at": moment} for row in rows]
        )
    return len(rows)


def _days(active: dict[date, tuple[int, float]], until: date) -> list[date]:
    """Every day from the first activity's to ``until`` or the last activity's; none without an activity."""
    if not active:
        return []
    start, end = min(active), max(until, *active)
    return [start + timedelta(days=number) for number in range((end - start).days + 1)]


def _unchanged(days: Sequence[date], active: dict[date, tuple[int, float]], stored: Sequence[StoredDay]) -> int:
    """How many days, from the first on, are stored with today's values."""
    count = 0
    for day, stored_day in zip(days, stored, strict=False):
        number, load = active.get(day, (0, 0.0))
        if stored_day.day != day or stored_day.activity_count != number or abs(stored_day.load - load) > SAME_LOAD:
            break
        count += 1
    return count


def _computed(days: Sequence[date], active: dict[date, tuple[int, float]], before: Sequence[StoredDay]) -> list[Row]:
    results = training_days(
        np.array([active.get(day, (0, 0.0))[1] for day in days]),
        fitness=before[-1].fitness if before else 0.0,
        fatigue=before[-1].fatigue if before else 0.0,
        before=np.array([each.load for each in before[1 - WEEK :]]),
    )
    return [
        {"day": day, "activity_count": active.get(day, (0, 0.0))[0]} | asdict(result)
        for day, result in zip(days, results, strict=True)
    ]
