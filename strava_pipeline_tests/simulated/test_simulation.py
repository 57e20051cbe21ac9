"""The simulation itself: its clock, and that its judge sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.errors import DatabaseUnavailable, StravaPipelineError
from strava_pipeline.sync import history, recent, upkeep
from strava_pipeline.warehouse import lake
from strava_pipeline.warehouse.activities import activity_store, stream_store
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports import wishes
from strava_pipeline.warehouse.schema.work_tables import work_leases
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.work_leases import only_worker
from strava_pipeline_tests.simulated import installation, year
from strava_pipeline_tests.simulated.clock import SimulatedTime
from strava_pipeline_tests.simulated.crew import Crew
from strava_pipeline_tests.simulated.installation import RETENTION
from strava_pipeline_tests.simulated.world import FIRST_ATHLETE
from strava_pipeline_tests.simulated.year import Form, Year
from strava_pipeline_tests.strava_model import EPOCH_2026

DAYS = Form(
    seed=1,
    athletes=1,
    days=3,
    years=1,
    activities_a_year=8,
    rate=8.0,
    patience_days=1,
    profile_days=1.0,
    troubles=(),
    people_act=False,
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


def test_a_check_that_launches_no_upkeep_leaves_wrong_what_no_webhook_tells(
    simulated: Callable[[Form], Year], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "why_no_run", lambda *_: "nothing is due")
    report = simulated(DAYS).run()
    assert report.deliveries["untold"]
    assert any("activity" in fault and "differs (ours, Strava's)" in fault for fault in report.faults)
    assert any("profile: differs (ours, Strava's)" in fault for fault in report.faults)


def test_lost_deliveries_are_counted_and_found_in_the_tables(
    simulated: Callable[[Form], Year], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(year, "LOST", 1.0)
    report = simulated(replace(DAYS, has_upkeep=False)).run()
    assert set(report.deliveries) == {"lost", "untold"}
    assert any("is not stored" in fault for fault in report.faults)


def test_upkeep_that_leaves_profiles_and_deleted_activities_is_seen(
    simulated: Callable[[Form], Year], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(year, "LOST", 1.0)
    monkeypatch.setattr(upkeep, "import_profile", lambda *_: 0)
    # The guard against deletions is too eager.
    monkeypatch.setattr(due, "HISTORY_EVERY", timedelta(days=1))
    monkeypatch.setattr(history, "why_held", lambda *_: "nothing was deleted")
    monkeypatch.setattr(recent, "shows_less", lambda *_: True)
    at_work = simulated(DAYS)
    at_work.time.start(lambda: at_work.world.delete(FIRST_ATHLETE, at_work.time.now), at=EPOCH_2026 + 1e5)
    report = at_work.run()
    assert any("profile: differs (ours, Strava's)" in fault for fault in report.faults)
    assert any("is stored, but Strava does not show it" in fault for fault in report.faults)


def test_a_lake_a_run_and_a_pause_that_do_not_work_are_seen(
    simulated: Callable[[Form], Year], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StravaPipelineError("broken")

    monkeypatch.setattr(lake, "_make_equal", lambda *_: False)
    monkeypatch.setattr(wishes, "pause", lambda *_: 0)
    at_work = simulated(replace(DAYS, days=2, has_upkeep=False))
    at_work.dagster.jobs[RETENTION] = fail
    at_work.time.start(partial(at_work.people.pause_import, FIRST_ATHLETE, 24), at=EPOCH_2026 + 1)
    report = at_work.run()
    assert any("in the lake" in fault and "is not stored" in fault for fault in report.faults)
    assert any("a run of retention: StravaPipelineError: broken" in fault for fault in report.faults)
    assert any("paused imports were launched" in fault for fault in report.faults)


def test_a_change_that_marks_no_month_is_seen(
    simulated: Callable[[Form], Year], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (activity_store, stream_store):
        monkeypatch.setattr(module, "mark_changed", lambda *_: None)
    report = simulated(replace(DAYS, days=2, has_upkeep=False)).run()
    assert any("what months were found to lack is not what they lack" in fault for fault in report.faults)


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
