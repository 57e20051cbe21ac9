"""What a host's asset gets as its input from one of ours, and that nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from sqlalchemy import Engine, insert

from strava_pipeline import athlete_month_partitions, athlete_partitions, build_strava_defs
from strava_pipeline.defs.code_location import own_plan
from strava_pipeline.defs.decorators import month_asset
from strava_pipeline.defs.io_manager import StravaIOManager
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.defs.plan import IO_MANAGER
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.names import ALL_ASSETS, Asset, Names, month_key, partition_key
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema import tables
from strava_pipeline_tests.strava_stand_in import RIDER

OTHER = 2002
ASKED = datetime(2026, 11, 1, tzinfo=UTC)
MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))
IN_MAY, IN_JUNE, IN_JULY, OF_OTHER = 1, 2, 3, 4
NAMES = Names()
YEARLY = dg.BackfillPolicy.multi_run(12)
GRID = athlete_month_partitions()
BY_ATHLETE = athlete_partitions()
BY_MONTH = GRID.get_partitions_def_for_dimension("month")


@month_asset(own_plan(), Asset.ACTIVITIES, "activities")
def activities() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


@dg.asset(key=["strava", Asset.DETAILS], partitions_def=GRID, io_manager_key=IO_MANAGER, deps=[activities])
def details() -> Iterator[dg.MaterializeResult[None]]:
    yield dg.MaterializeResult()


@dg.multi_asset(
    specs=[dg.AssetSpec(["strava", name]).with_io_manager_key(IO_MANAGER) for name in (Asset.ATHLETES, Asset.GEAR)],
    partitions_def=BY_ATHLETE,
)
def athletes_and_gear() -> Iterator[dg.MaterializeResult[None]]:
    for name in (Asset.ATHLETES, Asset.GEAR):
        yield dg.MaterializeResult(asset_key=["strava", name])


# Like ours, but they ask nothing of Strava.
OURS = (activities, details, athletes_and_gear)


class Host:
    """A Dagster with our assets and one of its own, which keeps what it was given."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.got: list[pd.DataFrame] = []

    def asset(self, of: str = Asset.ACTIVITIES, *, metadata: Any = None, mapping: Any = None, **how: Any) -> Any:
        """An asset of the host that takes one of ours, as the type of its parameter says."""

        def count(rows: pd.DataFrame) -> int:
            self.got.append(rows)
            return len(rows)

        # The names of this function are not global, as Dagster wants them to be.
        count.__annotations__ = {"rows": pd.DataFrame, "return": int}
        given = dg.AssetIn(["strava", of], metadata=metadata, partition_mapping=mapping)
        return dg.asset(ins={"rows": given}, io_manager_key="memory", **how)(count)

    def run(self, asset: dg.AssetsDefinition, *with_ours: dg.AssetsDefinition, **how: Any) -> pd.DataFrame:
        """Materialize the host's asset, in a run with these of ours; returns what it was given."""
        warehouse = WarehouseResource()
        result = dg.materialize(
            [*OURS, asset],
            selection=[asset, *with_ours],
            instance=self.instance,
            resources={
                "strava_warehouse": warehouse,
                IO_MANAGER: StravaIOManager(warehouse=warehouse),
                "memory": dg.mem_io_manager,
            },
            **how,
        )
        assert result.success
        return self.got.pop()


@pytest.fixture
def host(settings: Settings, engine: Engine) -> Iterator[Host]:
    with engine.begin() as connection:
        for athlete in (RIDER, OTHER):
            connection.execute(insert(tables.athletes).values(id=athlete, fetched_at=ASKED))
        for number, athlete, start in (
            (IN_JULY, RIDER, JULY),
            (IN_JUNE, RIDER, JUNE),
            (IN_MAY, RIDER, MAY),
            (OF_OTHER, OTHER, JUNE),
        ):
            given = {"resource_state": 2, "name": "a ride", "type": "Ride", "sport_type": "Ride", "fetched_at": ASKED}
            row = {"id": number, "athlete_id": athlete, "start_date": start, **given}
            connection.execute(insert(tables.activities).values(row))
            split = {"activity_id": number, "athlete_id": athlete, "unit": "metric", "split": 1, "distance": 1000.0}
            connection.execute(insert(tables.splits).values(split))
    with dg.DagsterInstance.ephemeral() as instance:
        register_athlete(instance, NAMES, RIDER)
        register_athlete(instance, NAMES, OTHER)
        yield Host(instance)


def ids(frame: pd.DataFrame) -> list[int]:
    return [int(number) for number in frame["id"]]


def tags_of_range(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def test_every_asset_of_ours_has_our_io_manager() -> None:
    found = {
        key: asset.get_io_manager_key_for_asset_key(key)
        for asset in build_strava_defs().resolve_asset_graph().assets_defs
        for key in asset.keys
    }
    assert found == {dg.AssetKey(NAMES.asset_path(name)): IO_MANAGER for name in ALL_ASSETS}


@pytest.mark.parametrize("with_ours", [(), (activities,)], ids=["in a run of its own", "in one run with ours"])
def test_an_asset_on_our_grid_gets_the_month_of_its_partition(host: Host, with_ours: Any) -> None:
    # Dagster warns of a run of assets with different policies.
    asset = host.asset(partitions_def=GRID, backfill_policy=YEARLY)
    assert ids(host.run(asset, *with_ours, partition_key=partition_key(RIDER, JUNE))) == [IN_JUNE]


@pytest.mark.parametrize("with_ours", [(), (activities,)], ids=["in a run of its own", "in one run with ours"])
def test_a_range_gives_all_of_its_months(host: Host, with_ours: Any) -> None:
    asset = host.asset(partitions_def=GRID, backfill_policy=YEARLY)
    tags = tags_of_range(partition_key(RIDER, MAY), partition_key(RIDER, JUNE))
    assert ids(host.run(asset, *with_ours, tags=tags)) == [IN_MAY, IN_JUNE]


def test_an_asset_by_athlete_gets_all_months_of_its_athlete(host: Host) -> None:
    asset = host.asset(partitions_def=BY_ATHLETE)
    assert ids(host.run(asset, partition_key=str(RIDER))) == [IN_MAY, IN_JUNE, IN_JULY]


def test_an_asset_by_month_gets_all_athletes_of_its_month(host: Host) -> None:
    asset = host.asset(partitions_def=BY_MONTH)
    assert ids(host.run(asset, partition_key=month_key(JUNE))) == [IN_JUNE, OF_OTHER]


def test_an_asset_without_partitions_gets_all_of_them(host: Host) -> None:
    assert ids(host.run(host.asset())) == [IN_MAY, IN_JUNE, OF_OTHER, IN_JULY]


def test_an_asset_of_ours_by_athlete_gives_the_rows_of_the_athlete(host: Host) -> None:
    of_grid = host.asset(Asset.ATHLETES, partitions_def=GRID)
    assert ids(host.run(of_grid, partition_key=partition_key(OTHER, JUNE))) == [OTHER]
    by_athlete = host.asset(Asset.ATHLETES, partitions_def=BY_ATHLETE)
    assert ids(host.run(by_athlete, athletes_and_gear, partition_key=str(RIDER))) == [RIDER]


def test_a_month_without_activities_is_an_empty_frame_with_dtypes(host: Host) -> None:
    frame = host.run(host.asset(partitions_def=GRID), partition_key=partition_key(OTHER, JULY))
    assert len(frame) == 0
    assert (str(frame.dtypes["id"]), str(frame.dtypes["start_date"])) == ("Int64", "datetime64[us, UTC]")


def test_the_inputs_metadata_names_another_table_and_columns(host: Host) -> None:
    wanted = {"table": "splits", "columns": ["distance", "split"]}
    asset = host.asset(Asset.DETAILS, metadata=wanted, partitions_def=GRID)
    frame = host.run(asset, details, partition_key=partition_key(RIDER, JULY))
    assert frame.to_dict("records") == [{"distance": 1000.0, "split": 1}]


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The last cause of the failure of a run's only failed step."""
    (event,) = (event for event in result.all_events if event.is_step_failure)
    error = event.step_failure_data.error
    assert error is not None
    while error.cause is not None:
        error = error.cause
    return error.message


def test_a_table_that_the_asset_does_not_write_fails_the_step_of_the_host(host: Host) -> None:
    asset = host.asset(metadata={"table": "laps"}, partitions_def=GRID)
    with pytest.raises(ValueError, match="asset activities writes activities, and no table 'laps'"):
        host.run(asset, partition_key=partition_key(RIDER, JULY))


@dg.op(out=dg.Out(int, io_manager_key=IO_MANAGER))
def told() -> int:
    return 7


@dg.op(out=dg.Out(dg.Nothing, io_manager_key=IO_MANAGER))
def hears(number: int) -> None:
    assert number == 7


@dg.job(resource_defs={IO_MANAGER: StravaIOManager(warehouse=WarehouseResource())}, executor_def=dg.in_process_executor)
def talk() -> None:
    hears(told())


def test_a_value_of_an_op_reaches_the_steps_of_its_process_and_no_other_run(settings: Settings, engine: Engine) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = talk.execute_in_process(instance=instance)
        assert first.success
        again = dg.ReexecutionOptions(parent_run_id=first.run_id, step_selection=["hears"])
        with dg.execute_job(dg.reconstructable(told_job), instance, reexecution_options=again) as second:
            assert not second.success


def told_job() -> dg.JobDefinition:
    return talk


def test_a_value_of_an_asset_of_the_host_is_refused_rather_than_lost(settings: Settings, engine: Engine) -> None:
    @dg.asset(io_manager_key=IO_MANAGER)
    def precious() -> int:
        return 7

    resources = {IO_MANAGER: StravaIOManager(warehouse=WarehouseResource())}
    result = dg.materialize([precious], resources=resources, raise_on_error=False)
    assert "the value of asset precious would be lost" in failure(result)


def test_an_asset_of_the_host_that_is_named_as_one_of_ours_gives_no_rows_of_ours(
    settings: Settings, engine: Engine
) -> None:
    @dg.asset(key=["theirs", Asset.ACTIVITIES], io_manager_key=IO_MANAGER)
    def made() -> None: ...

    @dg.asset(ins={"rows": dg.AssetIn(["theirs", Asset.ACTIVITIES])}, io_manager_key=IO_MANAGER)
    def counted(rows: pd.DataFrame) -> None: ...

    resources = {IO_MANAGER: StravaIOManager(warehouse=WarehouseResource())}
    result = dg.materialize([made, counted], resources=resources, raise_on_error=False)
    assert "asset theirs/activities is none of strava-pipeline" in failure(result)
