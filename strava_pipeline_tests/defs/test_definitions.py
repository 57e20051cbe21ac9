"""What the code location shows: a change of any asset's spec is meant to show up here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from sqlalchemy import Engine, text

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.names import Job
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline_tests.defs.own_definitions import NAMES, defs, key_of

GRID = "athlete|month"
YEARLY = dg.BackfillPolicy.multi_run(max_partitions_per_run=12)
SPECS: dict[str, dict[str, Any]] = {
    "athletes": {"group": "strava_athletes", "deps": [], "partitions": "athlete", "pool": "strava_api", "policy": None},
    "gear": {"group": "strava_athletes", "deps": [], "partitions": "athlete", "pool": "strava_api", "policy": None},
    "activities": {
        "group": "strava_activities",
        "deps": [],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "activity_details": {
        "group": "strava_activities",
        "deps": ["activities"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "activity_streams": {
        "group": "strava_activities",
        "deps": ["activity_details"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "training_load": {
        "group": "strava_analysis",
        "deps": ["route_analyses"],
        "partitions": "athlete",
        "pool": None,
        "policy": dg.BackfillPolicy.single_run(),
    },
    "archive_files": {
        "group": "strava_activities",
        "deps": [],
        "partitions": "athlete",
        "pool": None,
        "policy": dg.BackfillPolicy.single_run(),
    },
    "route_analyses": {
        "group": "strava_analysis",
        "deps": ["activity_streams"],
        "partitions": GRID,
        "pool": "strava_api",
        "policy": YEARLY,
    },
    "activity_points_parquet": {
        "group": "strava_lake",
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


def plain(key: dg.AssetKey) -> str:
    found = NAMES.asset_of(key.to_user_string())
    assert found is not None
    return found


def shown() -> dict[str, dict[str, Any]]:
    found = {}
    for asset in defs().resolve_asset_graph().assets_defs:
        for spec in asset.specs:
            found[plain(spec.key)] = {
                "group": spec.group_name,
                "deps": sorted(plain(dep.asset_key) for dep in spec.deps),
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
    assert fresh == {"strava/activities"}


@pytest.mark.parametrize("name", [name for name in SPECS if name not in FILES])
def test_an_asset_shows_its_table_with_every_column(name: str) -> None:
    spec = next(spec for spec in defs().resolve_all_asset_specs() if spec.key == key_of(name))
    assert spec.kinds == {"postgres"}
    assert spec.description
    table = metadata.tables[spec.metadata["dagster/table_name"]]
    schema = spec.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == [column.name for column in table.columns]
    assert all(column.description for column in schema.columns)


def test_the_lake_shows_the_columns_of_the_view_and_where_they_come_from(engine: Engine) -> None:
    spec = next(spec for spec in defs().resolve_all_asset_specs() if spec.key == key_of("activity_points_parquet"))
    with engine.connect() as connection:
        columns = connection.execute(text("SELECT * FROM strava.activity_points LIMIT 0")).keys()
    assert spec.kinds == {"parquet"}
    assert sorted(column.name for column in spec.metadata["dagster/column_schema"].columns) == sorted(columns)
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    assert {dep.column_name for deps in lineage.values() for dep in deps} <= set(tables.activity_streams.c.keys())
    assert set(lineage) == set(columns)


def test_jobs_and_resources_are_the_documented_ones() -> None:
    assert {job.name for job in defs().jobs or []} == {
        "strava_remap",
        "strava_webhook_sync",
        "strava_newest_month",
        "strava_import_history",
        "strava_files_import",
        "strava_archive_import",
        "strava_upkeep",
        "strava_update_lake",
        "strava_run_checks",
        "strava_retention",
        "strava_run_retention",
        "strava_send_notifications",
    }
    schedules = [schedule for schedule in defs().schedules or [] if isinstance(schedule, dg.ScheduleDefinition)]
    assert {schedule.name: schedule.cron_schedule for schedule in schedules} == {
        "strava_newest_months_every_five_minutes": "*/5 * * * *",
        "strava_imports_every_five_minutes": "1-59/5 * * * *",
        "strava_files_every_five_minutes": "2-59/5 * * * *",
        "strava_upkeep_every_five_minutes": "2-59/5 * * * *",
        "strava_lake_every_five_minutes": "4-59/5 * * * *",
        "strava_checks_every_five_minutes": "3-59/5 * * * *",
        "strava_retention_every_night": "43 3 * * *",
        "strava_run_retention_every_hour": "28 * * * *",
        "strava_notifications_every_five_minutes": "3-59/5 * * * *",
    }
    assert all(schedule.default_status is dg.DefaultScheduleStatus.RUNNING for schedule in schedules)
    assert {schedule.execution_timezone for schedule in schedules} == {"UTC"}
    assert set(defs().resources or {}) == {
        "strava_warehouse",
        "strava_client",
        "strava_mailer",
        "strava_io_manager",
    }


def test_runs_of_jobs_carry_what_dagster_and_other_processes_go_by() -> None:
    ours = {"strava_pipeline/prefix": "strava"}
    assert defs().resolve_job_def("strava_newest_month").run_tags == ours | {
        "strava_pipeline/job": "newest_month",
        "strava/lane": "backfill",
        "dagster/priority": "5",
        "dagster/max_retries": "0",
        # Writes files of the lake, too.
        "dagster-k8s/config": '{"container_config": {"resources": {"requests": {"memory": "640Mi"},'
        ' "limits": {"memory": "640Mi"}}}}',
    }
    # These are launched again by bridge or schedule, and by nobody else beside that.
    for name in (Job.IMPORT_HISTORY, Job.FILES_IMPORT, Job.ARCHIVE_IMPORT, Job.UPKEEP, Job.UPDATE_LAKE, Job.RUN_CHECKS):
        assert defs().resolve_job_def(NAMES.job(name)).run_tags["dagster/max_retries"] == "0"
    assert defs().resolve_job_def("strava_webhook_sync").run_tags == ours | {
        "strava_pipeline/job": "webhook_sync",
        "strava/lane": "live",
        "dagster/priority": "10",
        # Executed again only if it crashed, and then from its first step.
        "dagster/retry_on_asset_or_op_failure": "false",
        "dagster/retry_strategy": "ALL_STEPS",
    }


def test_each_job_says_whose_it_is_and_brings_its_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_ID", "815")
    for job in defs().jobs or []:
        assert isinstance(job, dg.JobDefinition)
        assert job.tags["strava_pipeline/deployment"] == "own"
        assert job.tags["strava_pipeline/app"] == "815"
        assert job.name == NAMES.job(job.tags["strava_pipeline/job"])
        assert job.executor_def is dg.in_process_executor, job.name


def test_imports_are_in_pools() -> None:
    pools = {
        name: defs().resolve_job_def(NAMES.job(name)).nodes[0].definition.pools
        for name in (Job.NEWEST_MONTH, Job.IMPORT_HISTORY, Job.ARCHIVE_IMPORT)
    }
    assert pools == {
        Job.NEWEST_MONTH: {"strava_newest"},
        Job.IMPORT_HISTORY: {"strava_api"},
        Job.ARCHIVE_IMPORT: {"strava_api"},
    }


LOOKING_FOR_DEAD_RUNS = (
    "newest_months_every_five_minutes",
    "imports_every_five_minutes",
    "upkeep_every_five_minutes",
    "notifications_every_five_minutes",
    "lake_every_five_minutes",
)


def test_no_schedule_ticks_more_often_than_every_five_minutes() -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    for schedule in defs().schedules or []:
        assert isinstance(schedule, dg.ScheduleDefinition)
        assert _minutes_between_ticks(schedule, midnight) >= 5, schedule.name


def test_somebody_looks_for_dead_runs_each_minute() -> None:
    known = {schedule.name: schedule for schedule in defs().schedules or []}
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    looks = [moment for name in LOOKING_FOR_DEAD_RUNS for moment in _ticks(known[NAMES.schedule(name)], midnight, 12)]
    assert sorted(looks) == [midnight + timedelta(minutes=number) for number in range(60)]


def _minutes_between_ticks(schedule: dg.ScheduleDefinition, start: datetime) -> float:
    ticks = _ticks(schedule, start, 50)
    return min((later - earlier) / timedelta(minutes=1) for earlier, later in pairwise(ticks))


def _ticks(schedule: Any, start: datetime, count: int) -> list[datetime]:
    assert isinstance(schedule, dg.ScheduleDefinition)
    ticks = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return list(islice(ticks, count))


def test_definitions_merge_into_another_code_location() -> None:
    other = dg.Definitions(assets=[dg.AssetSpec("theirs")])
    merged = dg.Definitions.merge(other, build_strava_defs())
    dg.Definitions.validate_loadable(merged)
    assert len(list(merged.resolve_all_asset_specs())) == len(SPECS) + 1
