"""Sees to it that what edited activities lack is imported."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import Connection

from strava_pipeline.warehouse.imports.wishes import FOLLOWERS, Import, list_imports, lock_imports, make_import, poke
from strava_pipeline.warehouse.states import ImportStep, MadeBy

WANTED = (ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES)


def import_edited(connection: Connection, athlete_id: int, months: Collection[date]) -> None:
    """Let an athlete's imports look at once what edited months (first days, UTC) lack.

    A month that no import covers for which somebody asked gets one. Of a covered month no more is wanted than these
    imports want.
    """
    if not months:
        return
    lock_imports(connection, athlete_id)
    asked_for = [wish for wish in list_imports(connection, [athlete_id]) if wish.made_by not in FOLLOWERS]
    for month in months:
        if not any(_covers(wish, month) for wish in asked_for):
            make_import(connection, athlete_id, month, month, WANTED, profile=False, by=MadeBy.UPKEEP)
    poke(connection, athlete_id)


def _covers(wish: Import, month: date) -> bool:
    begun = wish.first_month is None or wish.first_month <= month
    return begun and (wish.last_month is None or month <= wish.last_month)
