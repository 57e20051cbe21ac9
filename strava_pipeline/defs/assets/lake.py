"""Samples as Parquet files, for engines that read columns."""

from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from strava_pipeline.defs.assets.activities import YEARLY, activity_streams
from strava_pipeline.defs.partitions import grid_partitions, spans_by_athlete
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import backfilled_asset, working_on_months
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.mapping.streams import SERIES
from strava_pipeline.warehouse.declared_columns import columns_of
from strava_pipeline.warehouse.states import ImportStep

if TYPE_CHECKING:
    from strava_pipeline.warehouse.lake import MonthFile

# The column of activity_streams for each column; a sample's number is its place in the arrays.
SOURCES = {name: name for name in ("activity_id", "athlete_id", *SERIES, "latitude", "longitude")} | {
    "point_index": "time"
}


def _columns() -> list[dg.TableColumn]:
    streams = columns_of("activity_streams")
    return [
        dg.TableColumn(
            name=name,
            type=streams[source].element_type,
            description="number of the sample, from 0" if name == "point_index" else streams[source].comment,
        )
        for name, source in SOURCES.items()
    ]


@backfilled_asset(
    YEARLY,
    partitions_def=grid_partitions,
    group_name="lake",
    deps=[activity_streams],
    kinds={"parquet"},
    metadata={
        "dagster/column_schema": dg.TableSchema(columns=_columns()),
        "dagster/column_lineage": dg.TableColumnLineage(
            {name: [dg.TableColumnDep(activity_streams.key, source)] for name, source in SOURCES.items()}
        ),
    },
)
def activity_points_parquet(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> dg.MaterializeResult[None]:
    """One file per athlete and month with every sample; columns as in activity_points.

    Files go to STRAVA_LAKE_URL or, if that is not set, into the folder lake under STRAVA_HOME.
    """
    from strava_pipeline.local.home_folder import let_lake_readers_traverse  # noqa: PLC0415  see below
    from strava_pipeline.warehouse.lake import write_month  # noqa: PLC0415  Arrow, which no other run needs

    settings = load_settings()
    url, readers = settings.lake_location(), let_lake_readers_traverse(settings)
    write = partial(write_month, warehouse.engine, url, readers=readers)
    with working_on_months(context) as months:
        for _, cells in spans_by_athlete(context.partition_keys):
            for key, month in months.each(warehouse.engine, ImportStep.LAKE, cells, write):
                months.log(key, _metadata(month), changed=month.written)
    return dg.MaterializeResult()


def _metadata(month: "MonthFile") -> dict[str, dg.MetadataValue]:
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(month.points),
        "size in bytes": dg.MetadataValue.int(month.size_bytes),
        "dagster/uri": dg.MetadataValue.text(month.address),
    }
