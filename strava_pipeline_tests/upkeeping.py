"""What tests of upkeep's work share: doing what is due, and what the list says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Engine, Row, select, update

from strava_pipeline.settings import load_settings
from strava_pipeline.sync.upkeep import Contexts, Worked, work_off
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
YESTERDAY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


def work(strava: StravaStandIn, engine: Engine, tasks: int = 100, kept: Kept = EVERYTHING) -> Worked:
    """What upkeep does in the time for so many tasks."""
    done, sync = count(), strava.sync(engine, kept)
    spare = replace(sync, waits_for_others=False)
    return work_off(Contexts(sync, spare), load_settings(), lambda: next(done) < tasks)


def rows(engine: Engine, *where: Any) -> dict[tuple[UpkeepKind, str], Row[Any]]:
    with engine.connect() as connection:
        found = connection.execute(select(upkeep).where(upkeep.c.athlete_id == RIDER, *where))
        return {(UpkeepKind(row.kind), row.subject): row for row in found}


def rest(engine: Engine, kind: UpkeepKind, subject: str = "") -> timedelta:
    """How long it is until a task is due, to the minute."""
    with engine.connect() as connection:
        moment = now(connection)
    left: timedelta = rows(engine)[kind, subject].due_at - moment
    return timedelta(minutes=round(left / timedelta(minutes=1)))


def make_due(engine: Engine, *where: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(upkeep).where(*where).values(due_at=LONG_AGO, lease_until=None))


def only(engine: Engine, *kinds: UpkeepKind) -> None:
    """Nothing else is due for long."""
    with engine.begin() as connection:
        later = now(connection) + timedelta(days=20)
        connection.execute(update(upkeep).where(upkeep.c.kind.not_in(kinds)).values(due_at=later))
