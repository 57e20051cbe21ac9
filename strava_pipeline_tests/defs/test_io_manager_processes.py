"""Our rows reach an asset of a host whose executor gives each step a process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, insert

from strava_pipeline import athlete_month_partitions
from strava_pipeline.defs.io_manager import StravaIOManager
from strava_pipeline.defs.partitions import cell, register_athlete
from strava_pipeline.defs.plan import IO_MANAGER
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.names import PARTITION_TAG, Asset, Names
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema import tables
from strava_pipeline_tests.strava_stand_in import RIDER

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
OURS, COUNT = dg.AssetKey(["strava", Asset.ACTIVITIES]), dg.AssetKey("count")


def host_job() -> dg.JobDefinition:
    """A job of a host, over an asset like ours and one of the host: each process makes it anew."""
    grid = athlete_month_partitions()

    @dg.asset(key=OURS, partitions_def=grid, io_manager_key=IO_MANAGER)
    def activities() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult()

    def count(rows: Any) -> Any:
        return dg.MaterializeResult(metadata={"ids": [int(number) for number in rows["id"]]})

    counting = dg.asset(ins={"rows": dg.AssetIn(OURS)}, partitions_def=grid)(count)
    return dg.Definitions(
        assets=[activities, counting],
        jobs=[dg.define_asset_job("both", [OURS, COUNT])],
        resources={IO_MANAGER: StravaIOManager(warehouse=WarehouseResource())},
        executor=dg.multiprocess_executor.configured({"max_concurrent": 1}),
    ).resolve_job_def("both")


@pytest.fixture
def instance(settings: Settings, engine: Engine) -> Iterator[dg.DagsterInstance]:
    with engine.begin() as connection:
        connection.execute(insert(tables.athletes).values(id=RIDER, fetched_at=JUNE))
        given = {"resource_state": 2, "name": "a ride", "type": "Ride", "sport_type": "Ride", "fetched_at": JUNE}
        row = {"id": 7, "athlete_id": RIDER, "start_date": JUNE, **given}
        connection.execute(insert(tables.activities).values(row))
    with dg.instance_for_test() as instance:
        register_athlete(instance, Names(), RIDER)
        yield instance


@pytest.mark.processes
@pytest.mark.parametrize("selection", [[OURS, COUNT], [COUNT]], ids=["in one run with ours", "in a run of its own"])
def test_a_process_of_the_hosts_step_gets_the_rows(instance: dg.DagsterInstance, selection: list[dg.AssetKey]) -> None:
    key = cell(RIDER, JUNE)
    dimensions = {f"{PARTITION_TAG}/{name}": value for name, value in key.keys_by_dimension.items()}
    tags = {PARTITION_TAG: str(key)} | dimensions
    with dg.execute_job(dg.reconstructable(host_job), instance, tags=tags, asset_selection=selection) as result:
        assert result.success
        (event,) = result.asset_materializations_for_node("count")
        assert event.metadata["ids"].value == [7]
        run = instance.get_run_by_id(result.run_id)
    # No process of such a run tells whether the run lives.
    assert run is not None
    assert [tag for tag in run.tags if tag.startswith("strava")] == []
