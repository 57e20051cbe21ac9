"""Upkeep finds training loads that are behind their figures, whatever Dagster missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.sync import training_load as computing
from strava_pipeline.sync.upkeep import Worked
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses, training_load
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.states import GrantState, UpkeepKind
from strava_pipeline.warehouse.upkeep.due import LOADS_EVERY, OF_ALL
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.upkeeping import make_due, work

OTHER = 2002
DAYS_AGO = 3
LOADS = (upkeep.c.kind == UpkeepKind.LOADS,)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Two athletes with a ride three days ago each, of whom no load was computed."""
    connect_riders(engine, RIDER, OTHER)
    strava = StravaStandIn()
    for number, athlete_id in ((1, RIDER), (2, OTHER)):
        strava.add(number, datetime.now(UTC) - timedelta(days=DAYS_AGO), athlete={"id": athlete_id})
        bring_up_to_date(strava.sync(engine), athlete_id, number)
    return strava


def loads(engine: Engine) -> dict[int, list[int]]:
    """How many activities each stored day counts, by athlete."""
    found: dict[int, list[int]] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(training_load).order_by(training_load.c.day)):
            found.setdefault(row.athlete_id, []).append(row.activity_count)
    return found


def a_day_later(engine: Engine, strava: StravaStandIn, tasks: int = 100) -> Worked:
    make_due(engine, *LOADS)
    return work(strava, engine, tasks)


def test_loads_that_nobody_computed_are_computed(strava: StravaStandIn, engine: Engine) -> None:
    worked = work(strava, engine)
    assert worked.loads == {RIDER: DAYS_AGO + 1, OTHER: DAYS_AGO + 1}
    assert loads(engine) == {RIDER: [1, 0, 0, 0], OTHER: [1, 0, 0, 0]}


def test_what_changed_since_is_found_a_day_later_and_the_rest_is_left_alone(
    strava: StravaStandIn, engine: Engine
) -> None:
    work(strava, engine)
    with engine.begin() as connection:
        connection.execute(update(route_analyses).where(route_analyses.c.activity_id == 1).values(training_load=77.0))
        delete_activities(connection, [2])
    assert work(strava, engine).loads == {}
    assert a_day_later(engine, strava).loads == {RIDER: DAYS_AGO + 1}
    assert loads(engine) == {RIDER: [1, 0, 0, 0]}
    with engine.connect() as connection:
        assert connection.execute(select(training_load.c.load).order_by(training_load.c.day)).scalars().first() == 77.0
    assert a_day_later(engine, strava).loads == {}


def test_it_is_due_once_a_day(strava: StravaStandIn, engine: Engine) -> None:
    work(strava, engine)
    with engine.connect() as connection:
        row = connection.execute(select(upkeep).where(*LOADS)).one()
    assert row.athlete_id == OF_ALL
    assert abs(row.due_at - row.done_at - LOADS_EVERY) < timedelta(seconds=1)


def test_a_run_whose_time_is_up_leaves_it_due(strava: StravaStandIn, engine: Engine) -> None:
    assert work(strava, engine, tasks=1).loads == {RIDER: DAYS_AGO + 1}
    assert work(strava, engine).loads == {OTHER: DAYS_AGO + 1}


def test_of_an_athlete_who_left_nothing_is_computed(strava: StravaStandIn, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == OTHER).values(state=GrantState.REVOKED))
    assert work(strava, engine).loads == {RIDER: DAYS_AGO + 1}


def test_one_athletes_fault_stops_no_other_and_is_raised_at_the_end(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = computing.update_training_load

    def fails(engine: Engine, athlete_id: int, until: Any) -> int:
        if athlete_id == RIDER:
            raise ValueError("odd")
        return real(engine, athlete_id, until)

    monkeypatch.setattr(computing, "update_training_load", fails)
    with pytest.raises(ValueError, match="odd"):
        work(strava, engine)
    assert set(loads(engine)) == {OTHER}
