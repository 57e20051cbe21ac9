"""Partitions for assets of a host, and which of these run after a webhook."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine

from strava_pipeline import athlete_month_partitions, athlete_partitions, build_strava_defs
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.names import partition_key
from strava_pipeline.settings import Settings
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import activities, activity_details, activity_streams, route_analyses
from strava_pipeline_tests.defs.webhook_runs import work_off
from strava_pipeline_tests.inbox import connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LONG_AGO = datetime(2024, 6, 10, 12, tzinfo=UTC)
MINE = dg.AssetKey("mine")
# As the guide for hosts says.
ANY_MONTH = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


@pytest.mark.parametrize("prefix", ["strava", "sports/strava"])
def test_partitions_equal_those_of_the_definitions_with_the_same_prefix_and_start(prefix: str) -> None:
    start = date(2024, 3, 15)
    definitions = build_strava_defs(key_prefix=prefix, history_start=start)
    found = {spec.key.path[-1]: spec.partitions_def for spec in definitions.resolve_all_asset_specs()}
    assert found["activities"] == found["activity_points_parquet"] == athlete_month_partitions(prefix, start)
    assert found["athletes"] == found["training_load"] == athlete_partitions(prefix)


def test_months_begin_as_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HISTORY_START", "2024-03-15")
    assert athlete_month_partitions() == athlete_month_partitions(history_start=date(2024, 3, 1))


def test_a_prefix_that_dagster_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="key_prefix"):
        athlete_partitions("no prefix")


def requested(
    location: CodeLocation, condition: dg.AutomationCondition[Any], before: Any = None
) -> tuple[set[str], dg.EvaluateAutomationConditionsResult]:
    """The partitions of a host's asset that its condition would run now."""

    @dg.asset(
        key=MINE,
        deps=[["strava", "route_analyses"]],
        partitions_def=athlete_month_partitions(),
        automation_condition=condition,
    )
    def mine() -> None: ...

    definitions = dg.Definitions.merge(build_strava_defs(), dg.Definitions(assets=[mine]))
    result = dg.evaluate_automation_conditions(
        definitions, location.instance, evaluation_time=NOW, cursor=before.cursor if before else None
    )
    return {str(key) for key in result.get_requested_partitions(MINE)}, result


@pytest.mark.parametrize(
    ("condition", "start"),
    [(dg.AutomationCondition.eager(), NOW), (ANY_MONTH, NOW), (ANY_MONTH, LONG_AGO)],
    ids=["eager, in the newest month", "any month, in the newest", "any month, in an old one"],
)
def test_an_eager_asset_on_our_grid_runs_after_a_webhook_to_an_imported_month(
    location: CodeLocation, engine: Engine, condition: dg.AutomationCondition[Any], start: datetime
) -> None:
    connect_riders(engine, RIDER)
    month = partition_key(RIDER, start)
    location.strava.add(1, start)
    assets = (activities, activity_details, activity_streams, route_analyses)
    assert location.materialize(*assets, partition_key=month).success
    _, result = requested(location, condition)
    location.instance.report_runless_asset_event(dg.AssetMaterialization(MINE, partition=month))
    nothing, result = requested(location, condition, result)
    assert nothing == set()
    location.strava.add(2, start)
    store(engine, 2)
    assert work_off(location, engine).success
    assert requested(location, condition, result)[0] == {month}


def test_eager_alone_leaves_old_months_as_they_are(location: CodeLocation, settings: Settings) -> None:
    _, result = requested(location, dg.AutomationCondition.eager())
    analysed = dg.AssetMaterialization(["strava", "route_analyses"], partition=partition_key(RIDER, LONG_AGO))
    location.instance.report_runless_asset_event(analysed)
    assert requested(location, dg.AutomationCondition.eager(), result)[0] == set()
