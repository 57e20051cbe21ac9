"""Sees to it that what edited activities lack is imported."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import Connection

from strava_pipeline.warehouse.imports.wishes import FOLLOWERS, Import, list_imports, lock_imports, make_import, poke
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.states import ImportStep, MadeBy

WANTED = (ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES)


def import_edited(
    connection: Connection,
    athlete_id: int,
    months: Collection[date],
    dropped: Collection[ImportStep] = (),
    kept: Kept = EVERYTHING,
) -> None:
    """Let an athlete's imports look at once what edited months (first days, UTC) lack.

    A month that no import covers for which somebody asked gets one. Of a covered month no more is wanted than these
    imports want, and what was ``dropped``: steps of which edited activities lost what was stored. Of any other, what is
    ``kept`` is wanted.
    ``NeedsReauthorization`` if the athlete has disconnected.
    """
    if not months:
        return
    refuse_rows_of_revoked(connection, [athlete_id])
    lock_imports(connection, athlete_id)
    for month in months:
        covering = _asked_for(connection, athlete_id, month)
        _want(connection, athlete_id, month, _not_wanted(dropped, covering) if covering else kept.of_steps(WANTED))
    poke(connection, athlete_id)


def import_dropped(connection: Connection, athlete_id: int, month: date, dropped: Collection[ImportStep]) -> None:
    """Let what edited activities of a month (first day, UTC) lost be imported again, whoever asked for how much of it.

    ``dropped`` and errors as in :func:`import_edited`. Called in the transaction that drops it, so that no process that
    dies leaves it undone.
    """
    if not dropped:
        return
    refuse_rows_of_revoked(connection, [athlete_id])
    lock_imports(connection, athlete_id)
    _want(connection, athlete_id, month, _not_wanted(dropped, _asked_for(connection, athlete_id, month)))
    poke(connection, athlete_id)


def _asked_for(connection: Connection, athlete_id: int, month: date) -> list[Import]:
    """The imports that have this month, and for which a person asked."""
    imports = list_imports(connection, [athlete_id])
    return [wish for wish in imports if wish.made_by not in FOLLOWERS and _covers(wish, month)]


def _not_wanted(dropped: Collection[ImportStep], covering: Collection[Import]) -> tuple[ImportStep, ...]:
    """Those of the steps that none of these imports has."""
    wanted = {step for wish in covering for step in wish.steps}
    return tuple(step for step in WANTED if step in dropped and step not in wanted)


def _want(connection: Connection, athlete_id: int, month: date, steps: Collection[ImportStep]) -> None:
    if steps:
        make_import(connection, athlete_id, month, month, steps, profile=False, by=MadeBy.UPKEEP)


def _covers(wish: Import, month: date) -> bool:
    begun = wish.first_month is None or wish.first_month <= month
    return begun and (wish.last_month is None or month <= wish.last_month)
