"""Samples as Parquet files, for engines that read columns."""

from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.decorators import month_asset
from strava_pipeline.defs.month_steps import working_on_months
from strava_pipeline.defs.partitions import spans_by_athlete
from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import ROW_COUNT
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.months import Span
from strava_pipeline.names import Asset
from strava_pipeline.settings import Settings
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


def activity_points_parquet(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of Parquet files."""

    @month_asset(
        plan,
        Asset.LAKE,
        "lake",
        built_on=Asset.STREAMS,
        kinds={"parquet"},
        metadata={
            "dagster/column_schema": dg.TableSchema(columns=_columns()),
            "dagster/column_lineage": dg.TableColumnLineage(
                {name: [dg.TableColumnDep(plan.key(Asset.STREAMS), source)] for name, source in SOURCES.items()}
            ),
        },
    )
    def write_files(
        context: dg.AssetExecutionContext, strava_warehouse: WarehouseResource
    ) -> dg.MaterializeResult[None]:
        """One file per athlete and month with every sample; columns as in activity_points.

        Files go to STRAVA_LAKE_URL or, if that is not set, into the folder lake under STRAVA_HOME.
        """
        write = partial(write_lake_month, strava_warehouse.engine, strava_warehouse.load_settings())
        with working_on_months(context, strava_warehouse, ImportStep.LAKE) as months:
            for _, cells in spans_by_athlete(context.partition_keys):
                for key, month in months.each(cells, write):
                    months.log(key, file_metadata(month), changed=month.written)
        return dg.MaterializeResult()

    return write_files


def write_lake_month(engine: Engine, settings: Settings, span: Span) -> "MonthFile":
    """Make a month's file in the lake equal to the tables.

    ``ConfigurationError`` without the extra ``lake``, and in a container for which no lake is named.
    """
    ensure_installed(Extra.LAKE, "the lake")
    from strava_pipeline.local.home_folder import let_lake_readers_traverse  # noqa: PLC0415  see below
    from strava_pipeline.warehouse.lake import write_month  # noqa: PLC0415  Arrow, which no other run needs

    return write_month(engine, settings.lake_to_write(), span, readers=let_lake_readers_traverse(settings))


def file_metadata(month: "MonthFile") -> dict[str, dg.MetadataValue]:
    """The metadata that a month's file shows."""
    return {
        ROW_COUNT: dg.MetadataValue.int(month.points),
        "size in bytes": dg.MetadataValue.int(month.size_bytes),
        "dagster/uri": dg.MetadataValue.text(month.address),
    }
