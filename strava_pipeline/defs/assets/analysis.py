"""Figures computed from stored samples, without a request."""

from functools import partial

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.decorators import month_asset
from strava_pipeline.defs.month_link import month_link
from strava_pipeline.defs.month_steps import working_on_months
from strava_pipeline.defs.partitions import spans_by_athlete
from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import NO_REQUESTS, table_metadata
from strava_pipeline.names import Asset
from strava_pipeline.sync.backfill import analyse_span
from strava_pipeline.warehouse.states import ImportStep


def route_analyses(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of figures."""

    @month_asset(
        plan,
        Asset.ANALYSES,
        "analysis",
        built_on=Asset.STREAMS,
        kinds={"postgres"},
        metadata=table_metadata("route_analyses", lineage.of_figures(plan)),
    )
    def analyse(context: dg.AssetExecutionContext, strava_warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
        """Length, times, climbing, speed, heart rate and power of each activity that has samples."""
        settings, engine = strava_warehouse.load_settings(), strava_warehouse.engine
        with working_on_months(context, strava_warehouse, ImportStep.FIGURES) as months:
            for _, cells in spans_by_athlete(context.partition_keys):
                for key, result in months.each(cells, partial(analyse_span, engine)):
                    months.log_result(key, result, NO_REQUESTS | month_link(settings, result.span))
        return dg.MaterializeResult()

    return analyse
