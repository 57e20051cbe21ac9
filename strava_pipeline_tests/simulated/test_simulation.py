"""The simulation itself: its clock, and that its judge sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import now
from strava_pipeline_tests.simulated.clock import SimulatedTime
from strava_pipeline_tests.simulated.judge import Difference
from strava_pipeline_tests.simulated.wsgi_session import ADDRESS
from strava_pipeline_tests.simulated.year import Form, Year
from strava_pipeline_tests.strava_model import EPOCH_2026

DAYS = Form(
    seed=1, athletes=1, days=6, years=1, activities_a_year=20, rate=5.0, patience_days=3, troubles=(), revokes=False
)


@pytest.fixture
def simulated(
    settings: Settings, engine: Engine, owner_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Form], Year]:
    """A simulation of a form, on this test's database."""
    monkeypatch.setenv("STRAVA_API_URL", f"{ADDRESS}/api/v3")
    monkeypatch.setenv("STRAVA_OAUTH_URL", f"{ADDRESS}/oauth")
    return lambda form: Year(form, load_settings(), engine, owner_engine)


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
    assert report.late
    assert {type(late) for late in report.late} == {Difference}
