"""Training load: computed after analyses of any month, for their athlete alone, and once a day."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import Engine, func, select

from strava_pipeline.defs.partitions import cell, register_athlete
from strava_pipeline.warehouse.schema.analysis_tables import training_load as days
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    activities,
    activity_details,
    activity_streams,
    defs,
    key_of,
    route_analyses,
    step,
    training_load,
)
from strava_pipeline_tests.strava_stand_in import RIDER

OTHER_RIDER = 2002
LOAD = key_of("training_load")
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
pytestmark = pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")


def analysed(instance: dg.DagsterInstance, athlete_id: int, month: datetime) -> None:
    """A month's analyses are logged, as a backfill and a webhook both do."""
    key = cell(athlete_id, month)
    instance.report_runless_asset_event(dg.AssetMaterialization(key_of("route_analyses"), partition=key))


def computed(instance: dg.DagsterInstance, athlete_id: int) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(LOAD, partition=str(athlete_id)))


def requested(
    location: CodeLocation, at: datetime, before: dg.EvaluateAutomationConditionsResult | None = None
) -> tuple[set[str], dg.EvaluateAutomationConditionsResult]:
    """Athletes whose load the daemon would compute now."""
    cursor = None if before is None else before.cursor
    result = dg.evaluate_automation_conditions(defs(), location.instance, evaluation_time=at, cursor=cursor)
    return {str(key) for key in result.get_requested_partitions(LOAD)}, result


@pytest.mark.parametrize("month", [datetime(2024, 3, 1, tzinfo=UTC), NOON])
def test_an_analysis_of_any_month_computes_the_load_of_its_athlete_once(
    location: CodeLocation, month: datetime
) -> None:
    register_athlete(location.instance, NAMES, OTHER_RIDER)
    nobody, result = requested(location, NOON)
    assert nobody == set()
    analysed(location.instance, RIDER, month)
    athletes, result = requested(location, NOON, result)
    assert athletes == {str(RIDER)}
    computed(location.instance, RIDER)
    assert requested(location, NOON, result)[0] == set()


def test_a_new_day_computes_the_load_of_those_who_have_one(location: CodeLocation) -> None:
    register_athlete(location.instance, NAMES, OTHER_RIDER)
    computed(location.instance, RIDER)
    nobody, result = requested(location, NOON)
    assert nobody == set()
    assert requested(location, NOON.replace(day=11), result)[0] == {str(RIDER)}


def test_the_condition_is_evaluated_without_anybody_starting_it() -> None:
    sensor = defs().resolve_sensor_def("strava_training_load_automation")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_run_writes_the_days_of_its_athletes(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
    grid = (activities, activity_details, activity_streams, route_analyses)
    assert location.materialize(*grid, partition_key=f"{RIDER}|2025-06-01").success
    result = location.materialize(training_load, partition_key=str(RIDER))
    assert result.success
    with engine.connect() as connection:
        first, count = connection.execute(select(func.min(days.c.day), func.count())).one()
    assert first == datetime(2025, 6, 10, tzinfo=UTC).date()
    (event,) = result.asset_materializations_for_node(step("training_load"))
    assert event.metadata["written"].value == count > 1
