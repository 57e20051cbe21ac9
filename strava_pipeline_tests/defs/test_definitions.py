"""What the code location shows: a change of any asset's spec is meant to show up here."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from strava_pipeline.definitions import defs
from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.tables import metadata

GRID = "athlete|month"
YEARLY = dg.BackfillPolicy.multi_run(max_partitions_per_run=12)
SPECS: dict[str, dict[str, Any]] = {
    "athletes": {"group": "athletes", "deps": [], "partitions": "athlete", "pool": "strava_api", "policy": None},
    "gear": {"group": "athletes", "deps": [], "partitions": "athlete", "pool": "strava_api", "policy": None},
    "activities": {"group": "activities", "deps": [], "partitions": GRID, "pool": "strava_api", "policy": YEARLY},
    "activity_details": {
        "group": "activities",
        "deps": ["activities"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "activity_streams": {
        "group": "activities",
        "deps": ["activity_details"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "training_load": {
        "group": "analysis",
        "deps": ["route_analyses"],
        "partitions": "athlete",
        "pool": None,
        "policy": dg.BackfillPolicy.single_run(),
    },
    "route_analyses": {
        "group": "analysis",
        "deps": ["activity_streams"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "activity_points_parquet": {
        "group": "lake",
        "deps": ["activity_streams"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
}
FILES = ("activity_points_parquet",)


def partitions_name(definition: dg.PartitionsDefinition | None) -> str | None:
    match definition:
        case dg.MultiPartitionsDefinition():
            return "|".join(dimension.name for dimension in definition.partitions_defs)
        case dg.DynamicPartitionsDefinition(name="strava_athletes"):
            return "athlete"
        case _:
            return None if definition is None else repr(definition)


def shown() -> dict[str, dict[str, Any]]:
    found = {}
    for asset in defs().resolve_asset_graph().assets_defs:
        for spec in asset.specs:
            found[spec.key.to_user_string()] = {
                "group": spec.group_name,
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
                "partitions": partitions_name(spec.partitions_def),
                "pool": asset.op.pool,
                "policy": asset.backfill_policy,
            }
    return found


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs())


def test_every_assets_spec_is_the_documented_one() -> None:
    assert shown() == SPECS
    assert {tuple(spec.owners) for spec in defs().resolve_all_asset_specs()} == {("team:strava-pipeline",)}


def test_activities_are_expected_to_be_fresh() -> None:
    fresh = {spec.key.to_user_string() for spec in defs().resolve_all_asset_specs() if spec.freshness_policy}
    assert fresh == {"activities"}


@pytest.mark.parametrize("name", [name for name in SPECS if name not in FILES])
def test_an_asset_shows_its_table_with_every_column(name: str) -> None:
    spec = next(spec for spec in defs().resolve_all_asset_specs() if spec.key == dg.AssetKey(name))
    assert spec.kinds == {"postgres"}
    assert spec.description
    table = metadata.tables[spec.metadata["dagster/table_name"]]
    schema = spec.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == [column.name for column in table.columns]
    assert all(column.description for column in schema.columns)


def test_the_lake_shows_the_columns_of_the_view_and_where_they_come_from(engine: Engine) -> None:
    spec = next(spec for spec in defs().resolve_all_asset_specs() if spec.key == dg.AssetKey("activity_points_parquet"))
    with engine.connect() as connection:
        columns = connection.execute(text("SELECT * FROM strava.activity_points LIMIT 0")).keys()
    assert spec.kinds == {"parquet"}
    assert sorted(column.name for column in spec.metadata["dagster/column_schema"].columns) == sorted(columns)
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    assert {dep.column_name for deps in lineage.values() for dep in deps} <= set(tables.activity_streams.c.keys())
    assert set(lineage) == set(columns)


def test_jobs_and_resources_are_the_documented_ones() -> None:
    assert [job.name for job in defs().jobs or []] == [
        "remap",
        "webhook_sync",
        "newest_month",
        "import_history",
        "upkeep",
        "update_lake",
        "retention",
        "send_notifications",
    ]
    schedules = [schedule for schedule in defs().schedules or [] if isinstance(schedule, dg.ScheduleDefinition)]
    assert {schedule.name: schedule.cron_schedule for schedule in schedules} == {
        "newest_months_every_minute": "* * * * *",
        "imports_every_minute": "* * * * *",
        "upkeep_every_five_minutes": "2-59/5 * * * *",
        "lake_every_five_minutes": "4-59/5 * * * *",
        "retention_every_night": "43 3 * * *",
        "notifications_every_minute": "* * * * *",
    }
    assert all(schedule.default_status is dg.DefaultScheduleStatus.RUNNING for schedule in schedules)
    assert set(defs().resources or {}) == {"warehouse", "strava", "mailer", "io_manager"}
    newest = defs().resolve_job_def("newest_month")
    assert newest.tags == {"strava/lane": "backfill", "dagster/priority": "5", "dagster/max_retries": "0"}
    # These are launched again by bridge or schedule, and by nobody else beside that.
    for name in ("import_history", "upkeep", "update_lake"):
        assert defs().resolve_job_def(name).tags["dagster/max_retries"] == "0"
    pools = {
        name: defs().resolve_job_def(name).nodes[0].definition.pools for name in ("newest_month", "import_history")
    }
    assert pools == {"newest_month": {"strava_newest"}, "import_history": {"strava_api"}}
    job = defs().resolve_job_def("webhook_sync")
    assert job.tags == {"strava/lane": "live", "dagster/priority": "10"}
    assert job.executor_def is dg.in_process_executor


def test_definitions_merge_into_another_code_location() -> None:
    other = dg.Definitions(assets=[dg.AssetSpec("theirs")])
    merged = dg.Definitions.merge(other, build_strava_defs())
    dg.Definitions.validate_loadable(merged)
    assert len(list(merged.resolve_all_asset_specs())) == len(SPECS) + 1
