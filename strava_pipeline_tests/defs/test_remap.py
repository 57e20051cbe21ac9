"""The job that rebuilds tables: no request, and executed again it goes on where it ended."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.months import Span
from strava_pipeline.sync.backfill import import_details
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.activities import remapping as mapping
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import op, remap
from strava_pipeline_tests.strava_stand_in import RIDER

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))


def run(location: CodeLocation, **how: object) -> dg.ExecuteInProcessResult:
    return remap.execute_in_process(
        instance=location.instance,
        resources=location.resources(),
        raise_on_error=False,
        **how,  # type: ignore[arg-type]  # passed on
    )


@pytest.fixture
def spoiled(location: CodeLocation, engine: Engine) -> CodeLocation:
    """Four rides whose distance somebody has overwritten."""
    for number in range(1, 5):
        location.strava.add(number, datetime(2025, 6, number, tzinfo=UTC))
    sync = location.strava.sync(engine)
    list(import_summaries(sync, [JUNE]))
    import_details(sync, JUNE)
    with engine.begin() as connection:
        connection.execute(update(activities).values(distance=-1))
    location.strava.new_requests()
    return location


def wrong(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).where(activities.c.distance < 0)).scalar_one()


def test_rows_are_rebuilt_without_a_request(spoiled: CodeLocation, engine: Engine) -> None:
    assert run(spoiled).success
    assert wrong(engine) == 0
    assert spoiled.strava.new_requests() == []


def test_another_athlete_is_left_alone(spoiled: CodeLocation, engine: Engine) -> None:
    config = {"ops": {op("remap_payloads"): {"config": {"athlete_id": RIDER + 1}}}}
    assert run(spoiled, run_config=config).success
    assert wrong(engine) == 4


def test_a_run_executed_again_goes_on_where_the_first_one_ended(
    spoiled: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mapping.remap

    def dies_after_one(engine: Engine, **how: object) -> object:
        yield next(iter(real(engine, batch=1, **how)))  # type: ignore[arg-type]  # passed on
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(mapping, "remap", dies_after_one)
        first = run(spoiled)
    assert not first.success
    assert wrong(engine) == 3
    tags = {"dagster/root_run_id": first.run_id, "dagster/parent_run_id": first.run_id}
    again = run(spoiled, tags=tags)
    assert again.success
    with engine.connect() as connection:
        oldest = connection.execute(select(payloads.c.mapped_at).where(payloads.c.activity_id == 1)).scalars().all()
    record = spoiled.instance.get_run_record_by_id(again.run_id)
    assert record is not None
    assert all(at < record.create_timestamp.astimezone(UTC) for at in oldest)
    assert wrong(engine) == 0
