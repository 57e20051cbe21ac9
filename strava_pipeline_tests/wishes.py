"""Imports as tests ask for them, and a look at what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Engine, select, update

from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.lacking import Lacking, lacking
from strava_pipeline.warehouse.imports.launches import Launch, claim_launch
from strava_pipeline.warehouse.imports.still_failing import FailedStep
from strava_pipeline.warehouse.imports.wishes import Import, import_of, make_import
from strava_pipeline.warehouse.schema.import_tables import failed_months
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import HISTORY_STEPS, ImportStep, MadeBy
from strava_pipeline_tests.inbox import LONG_AGO
from strava_pipeline_tests.strava_stand_in import RIDER

FLOOR = date(2008, 1, 1)
STEPS = HISTORY_STEPS


def wish_for(
    engine: Engine,
    first: date | None = None,
    last: date | None = None,
    *,
    athlete_id: int = RIDER,
    steps: Iterable[ImportStep] = STEPS,
    profile: bool = False,
    by: MadeBy = MadeBy.CONNECT,
) -> int:
    """Ask for an import; without months for an open one."""
    with engine.begin() as connection:
        return make_import(connection, athlete_id, first, last, steps, profile=profile, by=by)


def wish(engine: Engine, import_id: int) -> Import:
    """The import as it is stored."""
    with engine.connect() as connection:
        return import_of(connection.execute(select(imports).where(imports.c.id == import_id)).mappings().one())


def lacks(engine: Engine, import_id: int, floor: date = FLOOR) -> Lacking:
    """What an import lacks now."""
    with engine.connect() as connection:
        return lacking(connection, wish(engine, import_id), floor, now(connection))


def launch(engine: Engine, floor: date = FLOOR, *, newest: bool | None = None) -> Launch | None:
    """Claim a launch in a transaction of its own."""
    with engine.begin() as connection:
        return claim_launch(connection, floor, newest=newest)


def change(engine: Engine, import_id: int | None = None, **values: Any) -> None:
    """Change imports behind everybody's back: what time does, without waiting for it."""
    where = [] if import_id is None else [imports.c.id == import_id]
    with engine.begin() as connection:
        connection.execute(update(imports).where(*where).values(**values))


def hurried(engine: Engine, import_id: int) -> Import:
    """The import as it is stored; what it waits for until it is launched again comes at once, unless it is paused."""
    now = wish(engine, import_id)
    if now.state == "due" and now.paused_at is None:
        change(engine, import_id, next_at=LONG_AGO)
    return now


def is_whole(engine: Engine, import_id: int) -> bool:
    """Whether nothing lacks of an import; else it is hurried."""
    return hurried(engine, import_id).whole_at is not None


def failed_steps(engine: Engine, athlete_id: int = RIDER) -> list[FailedStep]:
    """What is kept of an athlete's failures, newest month first, whether they are over or not."""
    query = select(failed_months).where(failed_months.c.athlete_id == athlete_id)
    with engine.connect() as connection:
        found = connection.execute(query.order_by(failed_months.c.month.desc(), failed_months.c.step)).mappings().all()
    return [FailedStep(**row) for row in found]
