"""Retention: what is too old goes with all that hangs on it, and is not fetched again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.months import Span
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse import retention
from strava_pipeline.warehouse.activities.deletion import DEPENDENT_TABLES
from strava_pipeline.warehouse.lake import write_month
from strava_pipeline.warehouse.lake_files import months_before
from strava_pipeline.warehouse.retention import (
    keep_from,
    remove_activities_before,
)
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
MIDDLE = datetime(2025, 6, 3, 12, tzinfo=UTC)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Rides on the first five days of June, all stored."""
    strava = StravaStandIn()
    for number in range(1, 6):
        strava.add(number, JUNE.start + timedelta(days=number - 1, hours=8))
        bring_up_to_date(strava.sync(engine), RIDER, number)
    return strava


def stored(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(activities.c.id).order_by(activities.c.id)).scalars())


@pytest.mark.usefixtures("strava")
def test_what_is_older_goes_with_everything_and_is_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    removed = remove_activities_before(engine, MIDDLE)
    assert removed["strava.activities"] == removed["strava.activity_streams"] == 3
    assert removed["strava.laps"] == 6
    assert stored(engine) == [4, 5]
    with engine.connect() as connection:
        for table in DEPENDENT_TABLES:
            count = select(func.count()).select_from(table).where(table.c.activity_id < 4)
            assert connection.execute(count).scalar_one() == 0, table.name
    assert remove_activities_before(engine, MIDDLE) == {}


def test_what_is_too_old_is_listed_but_not_stored_again(strava: StravaStandIn, engine: Engine) -> None:
    remove_activities_before(engine, MIDDLE)
    sync = replace(strava.sync(engine), keep_from=MIDDLE)
    import_listed(sync, [JUNE])
    assert stored(engine) == [4, 5]


def test_what_has_just_become_too_old_does_not_look_like_a_mass_deletion(strava: StravaStandIn, engine: Engine) -> None:
    sync = replace(strava.sync(engine), keep_from=JUNE.end)
    (result,) = import_listed(sync, [JUNE])
    assert result.deleted == 0
    assert stored(engine) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("strava")
def test_the_lake_follows(engine: Engine, tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    write_month(engine, url, JUNE)
    remove_activities_before(engine, MIDDLE)
    assert months_before(url, JUNE.start) == []
    assert months_before(url, MIDDLE) == [JUNE]
    assert write_month(engine, url, JUNE).written
    assert not write_month(engine, url, JUNE).written
    remove_activities_before(engine, JUNE.end)
    assert write_month(engine, url, JUNE).written
    assert months_before(url, JUNE.end) == []
    assert [path for path in Path(url).rglob("*") if path.is_file()] == []


def test_everything_is_kept_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_from(load_settings()) is None
    monkeypatch.setenv("STRAVA_RETENTION_DAYS", "30")
    moment = keep_from(load_settings())
    assert moment is not None
    assert timedelta(days=30) <= datetime.now(UTC) - moment < timedelta(days=30, minutes=1)
    monkeypatch.setenv("STRAVA_RETENTION_DAYS", "0")
    with pytest.raises(ConfigurationError, match="STRAVA_RETENTION_DAYS"):
        load_settings()
