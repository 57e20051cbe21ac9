"""Old runs go once each of their partitions has a newer materialization, whatever happens to the process meanwhile."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from pydantic import Field

from strava_pipeline.defs import run_retention
from strava_pipeline.defs.run_retention import UNSETTLED, Cursor, Lives, Look
from strava_pipeline.names import ALL_ASSETS
from strava_pipeline_tests.defs.own_definitions import NAMES, key_of

LIVES = Lives(succeeded=timedelta(days=14), failed=timedelta(days=90))
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
MAY, JUNE, JULY = "1001|2025-05-01", "1001|2025-06-01", "1001|2025-07-01"
PNG = "![newest route](data:image/png;base64,iVBORw0KGgo=)"


class Shown(dg.Config):
    """What a run materializes: assets, ours by plain name, by partition."""

    assets: list[str] = Field(default_factory=lambda: ["activities"])
    partitions: list[str] = Field(default_factory=list)
    metadata: dict[str, str] = Field(default_factory=dict)
    succeeds: bool = True


def _key(asset: str) -> dg.AssetKey:
    return key_of(asset) if asset in ALL_ASSETS else dg.AssetKey(asset)


@dg.op
def show(context: dg.OpExecutionContext, config: Shown) -> None:
    metadata = {name: dg.MetadataValue.md(value) for name, value in config.metadata.items()}
    for asset in config.assets:
        for partition in config.partitions:
            context.log_event(
                dg.AssetMaterialization(_key(asset), partition=partition, metadata=metadata | {"run": context.run_id})
            )
    if not config.succeeds:
        raise dg.Failure("as it was told")


@dg.job(tags=NAMES.job_tags("ours"), executor_def=dg.in_process_executor)
def ours() -> None:
    show()


@dg.job(executor_def=dg.in_process_executor)
def theirs() -> None:
    show()


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def ran(
    instance: dg.DagsterInstance, on_day: float, *partitions: str, job: dg.JobDefinition = ours, **config: Any
) -> str:
    """Run the job on a day; returns the run's id."""
    given = {"ops": {"show": {"config": {"partitions": list(partitions)} | config}}}
    with time_machine.travel(day(on_day)):
        return job.execute_in_process(given, instance=instance, raise_on_error=False).run_id


def look(
    instance: dg.DagsterInstance, on_day: float, cursor: Cursor | None = None, lives: Lives = LIVES, **more: Any
) -> Look:
    """Look on a day; returns the look when it is over."""
    with time_machine.travel(day(on_day)):
        done = Look(instance, NAMES, lives, day(on_day), cursor or Cursor(), **more)
        for _ in done.work():
            pass
    return done


def left(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def shown_by(instance: dg.DagsterInstance, partition: str, asset: str = "activities") -> list[str]:
    """The runs that Dagster's event log names for a partition, the last one first."""
    of = dg.AssetRecordsFilter(key_of(asset), asset_partitions=[partition])
    return [record.run_id for record in instance.fetch_materializations(of, limit=100).records]


def test_an_old_run_goes_once_each_of_its_partitions_has_a_newer_one(instance: dg.DagsterInstance) -> None:
    both = ran(instance, 0, MAY, JUNE)
    empty = ran(instance, 1)
    last_of_june = ran(instance, 2, JUNE)
    assert look(instance, 20).deleted == 1
    assert left(instance) == {both, last_of_june}, empty
    last_of_may = ran(instance, 20.5, MAY)
    assert look(instance, 21).deleted == 1
    assert left(instance) == {last_of_june, last_of_may}
    assert instance.all_logs(both) == []
    assert shown_by(instance, MAY) == [last_of_may]
    assert shown_by(instance, JUNE) == [last_of_june]


def test_a_run_stays_until_it_is_old(instance: dg.DagsterInstance) -> None:
    first = ran(instance, 0, MAY)
    failed = ran(instance, 0.1, MAY, succeeds=False)
    last = ran(instance, 0.2, MAY)
    assert look(instance, 13.9).deleted == 0
    assert look(instance, 14.3).deleted == 1
    assert left(instance) == {failed, last}, first
    assert look(instance, 90).deleted == 0
    assert look(instance, 90.3).deleted == 1
    assert left(instance) == {last}


def test_a_failed_run_that_shows_the_last_state_of_a_month_stays(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    failed = ran(instance, 1, MAY, succeeds=False)
    assert look(instance, 200).deleted == 1
    assert left(instance) == {failed}


def test_each_asset_counts_for_itself(instance: dg.DagsterInstance) -> None:
    first = ran(instance, 0, MAY, assets=["activities", "route_analyses"])
    ran(instance, 1, MAY)
    assert look(instance, 20).deleted == 0
    assert shown_by(instance, MAY, "route_analyses") == [first]


def test_a_later_look_asks_only_for_what_has_changed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """227,000 months keep their run for good; a look must not go through them each day."""
    months = [f"1001|20{year}-01-01" for year in range(10, 22)]
    for number, month in enumerate(months):
        ran(instance, number / 100, month)
    first = look(instance, 20)
    assert (first.seen, first.deleted) == (12, 0)
    assert look(instance, 21, first.cursor).seen == 0
    ran(instance, 21.5, months[3])
    again = look(instance, 22, first.cursor)
    assert (again.seen, again.deleted) == (1, 1)
    assert len(left(instance)) == 12


def test_a_cursor_survives_as_text(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    cursor = look(instance, 20).cursor
    assert cursor.complete_at == day(20)
    assert Cursor.of(str(cursor)) == cursor


@pytest.mark.parametrize("stops_after", range(0, 14, 2))
def test_a_look_that_runs_out_of_time_loses_nothing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, stops_after: int
) -> None:
    monkeypatch.setattr(run_retention, "PAGE", 2)
    old = [ran(instance, number / 10, MAY if number % 2 else JUNE) for number in range(6)]
    cursor = look(instance, 20).cursor
    new = {ran(instance, 20.1, MAY), ran(instance, 20.2, JUNE), ran(instance, 1.5, JULY)}
    asked = iter([True] * stops_after)
    stopped = look(instance, 21, cursor, goes_on=lambda: next(asked, False))
    assert stopped.cursor.complete_at is None
    assert look(instance, 22, Cursor.of(str(stopped.cursor))).cursor.complete_at == day(22)
    assert left(instance) == new
    assert not left(instance).intersection(old)


def test_runs_that_ended_at_one_moment_are_all_looked_at(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_retention, "PAGE", 2)
    with time_machine.travel(START, tick=False):
        for _ in range(7):
            ours.execute_in_process({"ops": {"show": {"config": {}}}}, instance=instance)
    assert look(instance, 20).deleted == 7


@pytest.mark.parametrize("step", ["delete_events", "delete_run"])
@pytest.mark.parametrize("comes_of_age", [True, False])
def test_a_process_that_dies_between_two_deletions_leaves_nothing_behind(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, step: str, comes_of_age: bool
) -> None:
    """Whether the run has come of age, or was old and is superseded now."""
    first = ran(instance, 0, MAY)
    cursor = Cursor() if comes_of_age else look(instance, 15).cursor
    last = ran(instance, 16, MAY)

    def die(*_: object) -> None:
        raise SystemExit

    storage = instance.event_log_storage if step == "delete_events" else instance.run_storage
    with monkeypatch.context() as patched:
        patched.setattr(type(storage), step, die)
        with pytest.raises(SystemExit):
            look(instance, 20, cursor)
    assert left(instance) == {first, last}
    for kept in (cursor, Cursor()):
        look(instance, 21, kept)
        assert left(instance) == {last}
        assert instance.all_logs(first) == []
    assert shown_by(instance, MAY) == [last]


def test_a_run_that_has_the_tags_of_one_whose_deletion_began_stays(instance: dg.DagsterInstance) -> None:
    """Dagster copies a run's tags to one that executes it again."""
    config = {"ops": {"show": {"config": {"partitions": [MAY]}}}}
    tags = {NAMES.deletion_tag: "begun"}
    with time_machine.travel(day(0)):
        again = ours.execute_in_process(config, instance=instance, tags=tags).run_id
        at_work = instance.create_run_for_job(ours, tags=tags, status=dg.DagsterRunStatus.STARTED).run_id
    look(instance, 1)
    assert left(instance) == {again, at_work}


def test_a_run_that_somebody_else_deletes_meanwhile_is_let_be(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ran(instance, 0, MAY)
    second = ran(instance, 1, MAY)
    ran(instance, 2, MAY)
    tag = type(instance).add_run_tags

    def too_late(given: dg.DagsterInstance, run_id: str, tags: dict[str, str]) -> None:
        if run_id == first:
            given.delete_run(first)
        tag(given, run_id, tags)

    monkeypatch.setattr(type(instance), "add_run_tags", too_late)
    assert look(instance, 20).deleted == 1
    assert second not in left(instance)


def test_others_runs_stay(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY, job=theirs)
    ran(instance, 0, MAY, job=theirs, assets=["their_asset"])
    # A job of ours that has shown an asset of theirs.
    ran(instance, 0, MAY, assets=["activities", "their_asset"])
    ran(instance, 1, MAY, assets=["activities", "their_asset"], job=theirs)
    assert look(instance, 200).deleted == 0
    assert len(left(instance)) == 4


@dg.asset(key=key_of("activities"), partitions_def=dg.StaticPartitionsDefinition([MAY, JUNE]))
def our_asset() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


@dg.asset
def their_asset() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


def test_a_run_of_our_assets_goes_though_a_person_launched_it(instance: dg.DagsterInstance) -> None:
    definitions = dg.Definitions([our_asset, their_asset])
    job = definitions.resolve_implicit_global_asset_job_def()
    for number, assets in enumerate([["activities"], ["their_asset"], ["activities"]]):
        keys = list(map(_key, assets))
        partition = MAY if assets == ["activities"] else None
        with time_machine.travel(day(number)):
            assert job.execute_in_process(instance=instance, asset_selection=keys, partition_key=partition).success
    assert look(instance, 20).deleted == 1
    assert [sorted(map(str, run.asset_selection or ())) for run in instance.get_runs()] == [
        [str(key_of("activities"))],
        [str(dg.AssetKey("their_asset"))],
    ]


def test_what_has_only_just_happened_is_left_to_the_next_look(instance: dg.DagsterInstance) -> None:
    """An event with a lower number may be committed later."""
    ran(instance, 0, MAY)
    first = look(instance, 20)
    just_now = 20 + UNSETTLED / timedelta(days=1)
    last = ran(instance, just_now - 0.001, MAY)
    early = look(instance, just_now, first.cursor)
    assert early.deleted == 0
    assert look(instance, 21, early.cursor).deleted == 1
    assert left(instance) == {last}


def test_an_event_that_has_only_just_happened_holds_back_later_ones(instance: dg.DagsterInstance) -> None:
    """Runs store their events in batches: a higher number may have an earlier time."""
    ran(instance, 0, MAY)
    ran(instance, 0, JUNE)
    cursor = look(instance, 19).cursor
    last = {ran(instance, 20, MAY), ran(instance, 19.5, JUNE)}
    early = look(instance, 20.001, cursor)
    assert look(instance, 21, early.cursor).cursor.complete_at is not None
    assert left(instance) == last


def test_a_longer_life_holds_for_runs_that_were_looked_at(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    cursor = look(instance, 20).cursor
    last = ran(instance, 20.5, MAY)
    longer = Lives(timedelta(days=30), None)
    cursor = look(instance, 21, cursor, longer).cursor
    assert len(left(instance)) == 2
    assert look(instance, 31, cursor, longer).deleted == 1
    assert left(instance) == {last}


def test_runs_are_kept_for_ever_if_so_wished(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    ran(instance, 0, MAY, succeeds=False)
    ran(instance, 1, MAY)
    assert look(instance, 4000, lives=Lives(None, None)).deleted == 0
    assert look(instance, 4000, lives=Lives(None, timedelta(days=90))).deleted == 1


def test_a_picture_of_an_earlier_version_goes_and_the_month_keeps_its_figures(instance: dg.DagsterInstance) -> None:
    first = ran(
        instance, 0, MAY, JUNE, assets=["activities", "route_analyses"], metadata={"newest route": PNG, "stored": "7"}
    )
    last = ran(instance, 1, JUNE)
    assert look(instance, 20).deleted == 1
    assert left(instance) == {last}, first
    for asset in ("activities", "route_analyses"):
        entry = instance.get_latest_materialization_event(key_of(asset))
        assert entry is not None
        assert entry.run_id == ""
        of = dg.AssetRecordsFilter(key_of(asset), asset_partitions=[MAY])
        (record,) = instance.fetch_materializations(of, limit=5).records
        assert record.asset_materialization is not None
        told = {name: value.value for name, value in record.asset_materialization.metadata.items()}
        assert told == {"stored": "7", "run": first}
    assert shown_by(instance, JUNE) == [last]
    assert shown_by(instance, JUNE, "route_analyses") == [""]
    assert look(instance, 21).deleted == 0


def test_without_a_picture_nothing_is_reported(instance: dg.DagsterInstance) -> None:
    first = ran(instance, 0, MAY, metadata={"newest route": "https://example.org/months/1001/2025-05"})
    look(instance, 20)
    assert shown_by(instance, MAY) == [first]


@pytest.mark.processes
def test_what_a_step_printed_goes_with_its_run(tmp_path: Path) -> None:
    """Where a host keeps it."""
    logs = {"module": "dagster._core.storage.local_compute_log_manager", "class": "LocalComputeLogManager"}
    overrides = {"compute_logs": logs | {"config": {"base_dir": str(tmp_path)}}}
    with dg.instance_for_test(overrides=overrides) as host:
        first = ran(host, 0, MAY)
        last = ran(host, 1, MAY)
        assert {path.name for path in tmp_path.iterdir()} == {first, last}
        assert look(host, 20).deleted == 1
    assert [path.name for path in tmp_path.iterdir()] == [last]


@dg.asset_check(asset=our_asset)
def whole() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset_check(asset=our_asset)
def round_numbers() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def test_evaluations_of_checks_go_with_their_run_but_for_the_last_of_each(instance: dg.DagsterInstance) -> None:
    checks = {name: dg.AssetCheckKey(key_of("activities"), name) for name in ("whole", "round_numbers")}
    runs = []
    for number, found in enumerate([[whole, round_numbers], [whole], [whole]]):
        with time_machine.travel(day(number)):
            tags = NAMES.job_tags("ours")
            done = dg.materialize([our_asset, *found], instance=instance, partition_key=MAY, tags=tags)
            runs.append(done.run_id)
    assert look(instance, 20).deleted == 2
    history = instance.event_log_storage.get_asset_check_execution_history
    assert [record.run_id for record in history(checks["whole"], limit=9)] == [runs[2]]
    # It was not evaluated since: it still tells how it stands.
    assert [record.run_id for record in history(checks["round_numbers"], limit=9)] == [runs[0]]


@pytest.mark.parametrize(
    ("status", "stays"), [(BulkActionStatus.COMPLETED_SUCCESS, False), (BulkActionStatus.REQUESTED, True)]
)
def test_a_finished_backfill_goes_with_its_last_run(
    instance: dg.DagsterInstance, status: BulkActionStatus, stays: bool
) -> None:
    instance.add_backfill(
        PartitionBackfill("b", status, False, backfill_timestamp=0.0, tags={"who": "mira"}, partition_names=[MAY])
    )
    for number in range(3):
        with time_machine.travel(day(number)):
            config = {"ops": {"show": {"config": {"partitions": [MAY]}}}}
            tags = {"dagster/backfill": "b"} if number < 2 else {}
            assert ours.execute_in_process(config, instance=instance, tags=tags).success
    assert look(instance, 14.5).deleted == 1
    assert len(instance.get_backfills()) == 1
    assert look(instance, 20).deleted == 1
    assert [found.backfill_id for found in instance.get_backfills()] == ["b"] * stays
