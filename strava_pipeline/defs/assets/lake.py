"""Samples as Parquet files, for engines that read columns."""

from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.assets.activities import YEARLY, activity_streams
from strava_pipeline.defs.month_steps import working_on_months
from strava_pipeline.defs.partitions import grid_partitions, spans_by_athlete
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import backfilled_asset
from strava_pipeline.months import Span
from strava_pipeline.names import NAMES
from strava_pipeline.settings import Settings, load_settings
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
    # It sends no request. Backfills of any asset leave room for a webhook.
    pool=NAMES.pool,
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
    write = partial(write_lake_month, warehouse.engine, load_settings())
    with working_on_months(context, warehouse.engine, ImportStep.LAKE) as months:
        for _, cells in spans_by_athlete(context.partition_keys):
            for key, month in months.each(cells, write):
                months.log(key, file_metadata(month), changed=month.written)
    return dg.MaterializeResult()


def write_lake_month(engine: Engine, settings: Settings, span: Span) -> "MonthFile":
    """Make a month's file in the lake equal to the tables."""
    from strava_pipeline.local.home_folder import let_lake_readers_traverse  # noqa: PLC0415  see below
    from strava_pipeline.warehouse.lake import write_month  # noqa: PLC0415  Arrow, which no other run needs

    return write_month(engine, settings.lake_location(), span, readers=let_lake_readers_traverse(settings))


def file_metadata(month: "MonthFile") -> dict[str, dg.MetadataValue]:
    """The metadata that a month's file shows."""
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(month.points),
        "size in bytes": dg.MetadataValue.int(month.size_bytes),
        "dagster/uri": dg.MetadataValue.text(month.address),
    }
