"""The simulation itself: its clock, and that its judge sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.ops_tables import work_leases
from strava_pipeline.warehouse.work_leases import only_worker
from strava_pipeline_tests.simulated import year
from strava_pipeline_tests.simulated.clock import SimulatedTime
from strava_pipeline_tests.simulated.crew import Crew
from strava_pipeline_tests.simulated.world import FIRST_ATHLETE
from strava_pipeline_tests.simulated.year import Form, Year
from strava_pipeline_tests.strava_model import EPOCH_2026

DAYS = Form(
    seed=1, athletes=1, days=4, years=1, activities_a_year=8, rate=8.0, patience_days=2, troubles=(), revokes=False
)


def test_python_the_database_and_strava_tell_one_time_that_stands_while_somebody_works(
    engine: Engine, owner_engine: Engine
) -> None:
    time = SimulatedTime(owner_engine, lambda: None)
    told: list[tuple[datetime, datetime, datetime]] = []

    def work() -> None:
        for _ in range(3):
            with engine.connect() as connection:
                told.append((datetime.now(UTC), now(connection), now(connection)))
            time.sleep(3600)

    time.start(work)
    time.run(EPOCH_2026 + 1e5)
    for hours, (python, database, later) in enumerate(told):
        assert python == datetime.fromtimestamp(EPOCH_2026, UTC) + timedelta(hours=hours)
        assert python < database < later < python + timedelta(milliseconds=1)
    assert len(told) == 3


def test_without_upkeep_what_no_webhook_told_stays_wrong(simulated: Callable[[Form], Year]) -> None:
    report = simulated(replace(DAYS, has_upkeep=False)).run()
    assert report.deliveries["untold"]
    assert any("differs (ours, Strava's)" in fault for fault in report.faults)


def test_lost_deliveries_are_counted_and_found_in_the_tables(
    simulated: Callable[[Form], Year], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(year, "LOST", 1.0)
    report = simulated(replace(DAYS, has_upkeep=False)).run()
    assert set(report.deliveries) == {"lost", "untold"}
    assert any("is not stored" in fault for fault in report.faults)


def test_a_call_that_strava_refuses_for_the_limit_is_counted(simulated: Callable[[Form], Year]) -> None:
    at_work = simulated(DAYS)

    def another_program() -> None:
        for _ in range(at_work.mock.config.short_limit):
            at_work.mock.limits.count()

    # In the midst of the import.
    at_work.time.start(another_program, at=EPOCH_2026 + 2)
    report = at_work.run()
    assert report.refused
    assert f"{report.refused} calls were refused for the limit" in report.faults


def test_a_killed_worker_leaves_its_lease_and_what_it_stored(engine: Engine, owner_engine: Engine) -> None:
    time = SimulatedTime(owner_engine, lambda: None)
    crew = Crew(time, engine)
    done: list[str] = []

    def work() -> None:
        with only_worker(engine, FIRST_ATHLETE, "work", lambda _: None, crew.pauses):
            crew.sleep(1000)
            done.append("slept")

    crew.start("worker", work, lambda: done.append("ended"))
    time.start(crew.kill_all, at=EPOCH_2026 + 10)
    time.run(EPOCH_2026 + 2000)
    assert done == ["ended"]
    assert crew.at_work == []
    with engine.connect() as connection:
        assert connection.execute(select(work_leases.c.work)).scalars().all() == ["work"]


def test_a_database_that_is_away_cuts_connections_and_takes_no_new_ones(engine: Engine, owner_engine: Engine) -> None:
    time = SimulatedTime(owner_engine, lambda: None)
    crew = Crew(time, engine)
    told: list[str] = []

    def work() -> None:
        for _ in range(4):
            try:
                with engine.connect() as connection:
                    told.append(f"{now(connection):%H}")
            except DatabaseUnavailable:
                told.append("away")
            crew.sleep(3600)

    def cut() -> None:
        crew.database_is_away = True
        time.sleep(7200)
        crew.database_is_away = False

    crew.start("worker", work, lambda: None)
    time.start(cut, at=EPOCH_2026 + 1800)
    time.run(EPOCH_2026 + 1e5)
    assert told == ["00", "away", "away", "03"]


def test_nobody_waits_while_a_connection_is_held(engine: Engine, owner_engine: Engine) -> None:
    time = SimulatedTime(owner_engine, lambda: None)
    crew = Crew(time, engine)

    def work() -> None:
        with engine.connect():
            crew.sleep(1)

    crew.start("worker", work, lambda: None)
    with pytest.raises(AssertionError, match="are held during a wait"):
        time.run(EPOCH_2026 + 10)
