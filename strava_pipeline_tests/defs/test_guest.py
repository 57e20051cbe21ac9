"""Our definitions in somebody else's code location change nothing there: Dagster sees what is theirs as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.snap import JobSnap
from dagster.components import build_defs_for_component

from strava_pipeline import StravaComponent
from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline_tests.host_project import definitions_of_host

Theirs = Callable[[], dg.Definitions]
ASSET_JOB = "__ASSET_JOB"
PREFIXES: dict[str, tuple[str | list[str], str]] = {"text": ("rides", "rides"), "list": (["my", "rides"], "my_rides")}


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Theirs:
    """Makes the definitions of a host."""
    return definitions_of_host(monkeypatch, tmp_path)


def seen(definitions: dg.Definitions) -> dict[str, Any]:
    """What Dagster's other processes are told of a code location: a snapshot of each thing, by its kind and name."""
    repository = definitions.get_repository_def()
    told = RepositorySnap.from_def(repository)
    checks = {f"check {check.asset_key.to_user_string()} {check.name}": check for check in told.asset_check_nodes or ()}
    found: dict[str, Any] = {f"asset {node.asset_key.to_user_string()}": node for node in told.asset_nodes} | checks
    found |= {f"schedule {schedule.name}": schedule for schedule in told.schedules}
    found |= {f"sensor {sensor.name}": sensor for sensor in told.sensors}
    found |= {f"resource {resource.name}": resource for resource in told.resources or ()}
    for job in repository.get_all_jobs():
        if job.name != ASSET_JOB:
            snap = JobSnap.from_job_def(job)
            found |= {
                f"job {job.name}": (snap.dep_structure_snapshot, snap.node_defs_snapshot, snap.tags, snap.metadata)
            }
            found |= {f"executor of {job.name}": job.executor_def, f"loggers of {job.name}": job.loggers}
    # Of an asset's job there is one for all.
    assets_job = repository.get_job(ASSET_JOB)
    return found | {f"executor of {ASSET_JOB}": assets_job.executor_def, f"loggers of {ASSET_JOB}": assets_job.loggers}


def test_all_that_is_theirs_is_seen_as_before(theirs: Theirs) -> None:
    before = seen(theirs())
    # Each asset that no sensor of automation names is in Dagster's own.
    automation = before.pop("sensor default_automation_condition_sensor")

    merged = dg.Definitions.merge(theirs(), build_strava_defs())

    dg.Definitions.validate_loadable(merged)
    after = seen(merged)
    assert [name for name in before if after[name] != before[name]] == []
    assets, all_assets = theirs().resolve_asset_graph(), merged.resolve_asset_graph()
    selected = after["sensor default_automation_condition_sensor"].asset_selection.resolve(all_assets)
    assert selected & assets.get_all_asset_keys() == automation.asset_selection.resolve(assets)


@pytest.mark.parametrize("way", ["merged", "in a component"])
def test_a_sensor_of_theirs_over_all_assets_stays_the_only_one(way: str) -> None:
    """Dagster refuses a code location in which two sensors of automation conditions have an asset in common."""
    sensor = dg.AutomationConditionSensorDefinition("everything", target=dg.AssetSelection.all())
    ours = build_strava_defs(sensor=False)
    if way == "in a component":
        ours = build_defs_for_component(StravaComponent(sensor=False))
    merged = dg.Definitions.merge(dg.Definitions(sensors=[sensor]), ours)
    dg.Definitions.validate_loadable(merged)
    (only,) = merged.get_repository_def().sensor_defs
    assert isinstance(only, dg.AutomationConditionSensorDefinition)
    chosen = only.asset_selection.resolve(merged.resolve_asset_graph())
    assert dg.AssetKey(["strava", "training_load"]) in chosen


@pytest.mark.parametrize(("key_prefix", "prefix"), PREFIXES.values(), ids=PREFIXES)
def test_all_that_is_ours_begins_with_the_prefix(theirs: Theirs, key_prefix: str | list[str], prefix: str) -> None:
    merged = dg.Definitions.merge(theirs(), build_strava_defs(key_prefix=key_prefix))
    known = seen(theirs()).keys()
    path = prefix.replace("_", "/")
    begins = {"asset": f"{path}/", "check": f"{path}/", "executor": f"of {prefix}_", "loggers": f"of {prefix}_"}

    ours = [name.split(" ", 1) for name in seen(merged).keys() - known]

    wrong = [
        (kind, name)
        for kind, name in ours
        if not name.startswith("strava_" if kind == "resource" else begins.get(kind, f"{prefix}_"))
    ]
    assert len(ours) > 40
    assert wrong == []
    repository = merged.get_repository_def()
    nodes = [node for node in RepositorySnap.from_def(repository).asset_nodes if node.asset_key.path[0] != "athletes"]
    of_ours = [node for node in nodes if len(node.asset_key.path) > 1]
    assert {node.group_name.startswith(f"{prefix}_") for node in of_ours} == {True}
    assert {pool.startswith(f"{prefix}_") for node in of_ours for pool in node.pools or ()} == {True}
    sets = {each.name for each in _dynamic_partitions(merged)}
    assert sets == {f"{prefix}_athletes"}
    theirs_ops = {op.name for op in theirs().get_repository_def().get_job("retention").nodes}
    ops = {node.definition.name for job in repository.get_all_jobs() if job.name != ASSET_JOB for node in job.nodes}
    assert {name for name in ops - theirs_ops if not name.startswith(f"{prefix}_")} == set()


def _dynamic_partitions(definitions: dg.Definitions) -> list[dg.DynamicPartitionsDefinition]:
    found = [spec.partitions_def for spec in definitions.resolve_all_asset_specs()]
    grids = [each for each in found if isinstance(each, dg.MultiPartitionsDefinition)]
    found += [part.partitions_def for grid in grids for part in grid.partitions_defs]
    return [each for each in found if isinstance(each, dg.DynamicPartitionsDefinition)]


def test_without_a_default_of_their_own_they_keep_dagsters(theirs: Theirs) -> None:
    @dg.asset
    def number() -> int:
        return 1

    alone = dg.Definitions(assets=[number])
    merged = dg.Definitions.merge(alone, build_strava_defs())

    jobs = [each.get_repository_def().get_job(ASSET_JOB) for each in (alone, merged)]
    assert jobs[0].executor_def == jobs[1].executor_def
    # Dagster adds its default of storing values in files itself.
    keys = [each.get_repository_def().get_top_level_resources().keys() for each in (alone, merged)]
    assert "io_manager" not in keys[0] | keys[1]
    assert jobs[0].resource_defs["io_manager"] == jobs[1].resource_defs["io_manager"]


def test_their_values_are_read_back_in_a_later_run(theirs: Theirs) -> None:
    merged = dg.Definitions.merge(theirs(), build_strava_defs())
    job = merged.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for asset in ("activities", "athletes"):
            assert job.execute_in_process(asset_selection=[dg.AssetKey(asset)], instance=instance).success
        assert merged.resolve_job_def("retention").execute_in_process(instance=instance).success
    stored: Any = merged.load_asset_value("athletes")
    assert stored["activities"]["warehouse"] == "of the host"


def test_in_a_host_no_schedule_and_no_sensor_runs_and_no_run_is_deleted_before_it_says_so() -> None:
    guest = build_strava_defs()
    assert {each.default_status for each in guest.schedules or ()} == {dg.DefaultScheduleStatus.STOPPED}
    assert {each.default_status for each in guest.sensors or ()} == {dg.DefaultSensorStatus.STOPPED}
    assert not [job.name for job in guest.jobs or () if "run_retention" in job.name]
    running = build_strava_defs(schedules="running", delete_runs=True)
    assert {each.default_status for each in running.schedules or ()} == {dg.DefaultScheduleStatus.RUNNING}
    assert {each.default_status for each in running.sensors or ()} == {dg.DefaultSensorStatus.RUNNING}
    assert "strava_run_retention" in {job.name for job in running.jobs or ()}
