"""Sees to it that what edited activities lack is imported."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import Connection, select

from strava_pipeline.warehouse.imports.wishes import Import, list_imports, make_import, poke
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline.warehouse.states import ImportStep, MadeBy

WANTED = (ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES)
LAKE = (ImportStep.LAKE,)


def import_edited(connection: Connection, athlete_id: int, months: Collection[date]) -> None:
    """Let an athlete's imports look at once what edited months (first days, UTC) lack.

    A month that no import covers gets one. Of a covered month no more is wanted than its imports want; but its file in
    the lake is written anew if there is one.
    """
    if not months:
        return
    imports = list_imports(connection, [athlete_id])
    for month in months:
        covering = [wish for wish in imports if _covers(wish, month)]
        wanted: tuple[ImportStep, ...] = () if covering else WANTED
        if _is_in_lake(connection, athlete_id, month) and not any(ImportStep.LAKE in wish.steps for wish in covering):
            wanted += LAKE
        if wanted:
            make_import(connection, athlete_id, month, month, wanted, profile=False, by=MadeBy.UPKEEP)
    poke(connection, athlete_id)


def _covers(wish: Import, month: date) -> bool:
    begun = wish.first_month is None or wish.first_month <= month
    return begun and (wish.last_month is None or month <= wish.last_month)


def _is_in_lake(connection: Connection, athlete_id: int, month: date) -> bool:
    ours = (import_months.c.athlete_id == athlete_id, import_months.c.month == month)
    query = select(import_months.c.lake_at).where(*ours)
    return connection.execute(query).scalar() is not None
