"""Months that were materialized under an asset's earlier key are materialized under the present one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import time_machine

from strava_pipeline.athlete_runs import HIDING_DESCRIPTION
from strava_pipeline.cli.athlete_dagster_runs import delete_runs
from strava_pipeline.defs import renamed_assets
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.defs.renamed_assets import carry_over_materializations
from strava_pipeline.defs.run_retention import Lives, Look
from strava_pipeline.names import ALL_ASSETS, RANGE_END_TAG, RANGE_START_TAG, Asset
from strava_pipeline.our_runs import is_our_run
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline_tests.defs.own_definitions import NAMES, key_of
from strava_pipeline_tests.strava_stand_in import RIDER

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
MAY, JUNE, JULY = (f"{RIDER}|2025-0{month}-01" for month in (5, 6, 7))
ALL_MONTHS = {MAY, JUNE, JULY}
GONE = "999|2025-05-01"
EARLIER_JOB = {"strava/job": "retention"}
IMPORT = {"strava/athlete": str(RIDER), "strava/lane": "backfill", RANGE_START_TAG: MAY, RANGE_END_TAG: JULY}


class Dies(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        register_athlete(instance, NAMES, RIDER)
        yield instance


def ran(
    instance: dg.DagsterInstance,
    on_day: float,
    *months: str,
    key: dg.AssetKey | None = None,
    tags: dict[str, str] | None = None,
) -> str:
    """A run of the earlier release that materialized months of its ``activities``; returns its id."""

    @dg.op
    def bring(context: dg.OpExecutionContext) -> None:
        for month in months:
            versions = {"dagster/code_version": "1", "dagster/input_data_version/athletes": "2"}
            context.log_event(
                dg.AssetMaterialization(
                    key or dg.AssetKey(Asset.ACTIVITIES),
                    partition=month,
                    metadata={"day": on_day},
                    tags=versions | {"dagster/data_version": "3"},
                )
            )

    @dg.job(tags=tags or NAMES.lane_tags(Lane.BACKFILL), executor_def=dg.in_process_executor)
    def import_months() -> None:
        bring()

    with time_machine.travel(day(on_day), tick=False):
        return import_months.execute_in_process(instance=instance).run_id


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def events(instance: dg.DagsterInstance, month: str, key: dg.AssetKey | None = None) -> Sequence[dg.EventLogRecord]:
    of = dg.AssetRecordsFilter(key or key_of(Asset.ACTIVITIES), asset_partitions=[month])
    return instance.fetch_materializations(of, limit=10).records


def test_a_month_shows_its_last_materialization_as_it_was_under_the_present_key(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY, JUNE)
    last = ran(instance, 1, MAY)
    assert carry_over_materializations(instance, NAMES) == 2
    assert instance.get_materialized_partitions(key_of(Asset.ACTIVITIES)) == {MAY, JUNE}
    (record,) = events(instance, MAY)
    assert (record.run_id, record.timestamp) == (last, day(1).timestamp())
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata == {"day": dg.FloatMetadataValue(1.0)}


def test_dagster_knows_the_earlier_keys_no_more(instance: dg.DagsterInstance) -> None:
    for asset in ALL_ASSETS:
        ran(instance, 0, MAY if asset != Asset.ATHLETES else str(RIDER), key=dg.AssetKey(asset))
    assert carry_over_materializations(instance, NAMES) == len(ALL_ASSETS)
    assert set(instance.all_asset_keys()) == set(map(key_of, ALL_ASSETS))


def test_what_it_was_made_from_is_left_out_since_those_assets_are_gone(instance: dg.DagsterInstance) -> None:
    """Dagster would show each month as outdated: its inputs would be new ones."""
    ran(instance, 0, MAY)
    carry_over_materializations(instance, NAMES)
    (record,) = events(instance, MAY)
    assert record.asset_materialization is not None
    assert record.asset_materialization.tags == {"dagster/data_version": "3"}


def test_a_month_that_was_materialized_since_stays_as_it_is(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY, JUNE)
    since = ran(instance, 1, MAY, key=key_of(Asset.ACTIVITIES))
    assert carry_over_materializations(instance, NAMES) == 1
    assert [record.run_id for record in events(instance, MAY)] == [since]


def test_months_of_an_athlete_who_has_gone_stay_behind(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY, GONE)
    instance.report_runless_asset_event(dg.AssetMaterialization(Asset.ACTIVITIES, description=HIDING_DESCRIPTION))
    assert carry_over_materializations(instance, NAMES) == 1
    assert instance.get_materialized_partitions(key_of(Asset.ACTIVITIES)) == {MAY}


@pytest.mark.parametrize("call", ["store_event_batch", "wipe_asset"])
@pytest.mark.parametrize("dies_after", range(4))
def test_a_process_that_dies_anywhere_loses_nothing_and_repeats_nothing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, call: str, dies_after: int
) -> None:
    monkeypatch.setattr(renamed_assets, "PAGE", 1)
    for asset in (Asset.ACTIVITIES, Asset.DETAILS):
        ran(instance, 0, *sorted(ALL_MONTHS), key=dg.AssetKey(asset))
    storage = instance.event_log_storage
    whole, left = getattr(storage, call), iter(range(dies_after))

    def dies(*given: Any) -> None:
        if next(left, None) is None:
            raise Dies
        whole(*given)

    with monkeypatch.context() as patched:
        patched.setattr(storage, call, dies)
        try:
            carry_over_materializations(instance, NAMES)
        except Dies:
            assert call == "store_event_batch" or dies_after < 2
    carry_over_materializations(instance, NAMES)
    for asset in (Asset.ACTIVITIES, Asset.DETAILS):
        assert not instance.has_asset_key(dg.AssetKey(asset))
        for month in ALL_MONTHS:
            assert len(events(instance, month, key_of(asset))) == 1


def test_an_asset_of_that_name_that_comes_later_is_somebody_elses(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    carry_over_materializations(instance, NAMES)
    theirs = ran(instance, 1, JUNE)
    # Dagster shows nothing of before it forgot an asset.
    instance.report_runless_asset_event(dg.AssetMaterialization(Asset.ACTIVITIES, partition=JUNE))
    assert carry_over_materializations(instance, NAMES) == 0
    assert instance.has_asset_key(dg.AssetKey(Asset.ACTIVITIES)), theirs
    assert instance.get_materialized_partitions(key_of(Asset.ACTIVITIES)) == {MAY}


def old_runs_are_deleted(instance: dg.DagsterInstance, on_day: float, *, is_own: bool = True) -> int:
    lives = Lives(succeeded=timedelta(days=14), failed=timedelta(days=14))
    with time_machine.travel(day(on_day)):
        look = Look(instance, NAMES, lives, day(on_day), is_own=is_own)
        list(look.work())
    return look.deleted


def test_runs_of_the_earlier_release_go_as_others_do(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    last = ran(instance, 1, MAY, JUNE)
    ran(instance, 1, tags=EARLIER_JOB)
    carry_over_materializations(instance, NAMES)
    assert old_runs_are_deleted(instance, 30) == 2
    assert [run.run_id for run in instance.get_runs()] == [last]
    now = ran(instance, 31, MAY, JUNE, key=key_of(Asset.ACTIVITIES))
    assert old_runs_are_deleted(instance, 60) == 1
    assert [run.run_id for run in instance.get_runs()] == [now]
    assert [record.run_id for record in events(instance, MAY)] == [now]


def test_in_somebody_elses_dagster_runs_with_plain_names_stay(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, MAY)
    ran(instance, 1, MAY)
    assert old_runs_are_deleted(instance, 30, is_own=False) == 0


def test_an_athletes_runs_of_the_earlier_release_go_with_the_athlete(instance: dg.DagsterInstance) -> None:
    ran(instance, 0, *sorted(ALL_MONTHS), tags=IMPORT)
    other = ran(instance, 0, GONE, tags={"strava/athlete": "999", "strava/lane": "backfill"})
    carry_over_materializations(instance, NAMES)
    assert delete_runs(instance, NAMES, RIDER) == 0
    assert [run.run_id for run in instance.get_runs()] == [other]
    assert instance.get_materialized_partitions(key_of(Asset.ACTIVITIES)) == set()
    (shown,) = instance.fetch_materializations(key_of(Asset.ACTIVITIES), limit=10).records
    assert shown.asset_materialization is not None
    assert shown.asset_materialization.description == HIDING_DESCRIPTION


@pytest.mark.parametrize(
    ("assets", "tags", "in_own", "elsewhere"),
    [
        (["strava/activities"], {}, True, True),
        (["activities", "gear"], {}, True, False),
        (["activities", "their_asset"], {}, False, False),
        ([], {"strava/lane": "live"}, True, False),
        ([], EARLIER_JOB, True, False),
        ([], {"strava_pipeline/prefix": "strava"}, True, True),
        ([], {"strava_pipeline/prefix": "other"}, False, False),
        ([], {}, False, False),
    ],
)
def test_plain_names_are_ours_in_a_deployment_of_our_own_only(
    assets: list[str], tags: dict[str, str], in_own: bool, elsewhere: bool
) -> None:
    assert is_our_run(NAMES, assets, tags, is_own=True) == in_own
    assert is_our_run(NAMES, assets, tags, is_own=False) == elsewhere
