"""Figures computed from stored samples, without a request."""

from typing import Any

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.assets.activities import YEARLY, activity_streams
from strava_pipeline.defs.assets.month_pictures import month_pictures
from strava_pipeline.defs.month_steps import working_on_months
from strava_pipeline.defs.partitions import grid_partitions, spans_by_athlete
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import NO_REQUESTS, backfilled_asset, table_metadata
from strava_pipeline.months import Span
from strava_pipeline.names import NAMES
from strava_pipeline.sync.backfill import analyse_span
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.warehouse.states import ImportStep


@backfilled_asset(
    YEARLY,
    partitions_def=grid_partitions,
    group_name="analysis",
    deps=[activity_streams],
    kinds={"postgres"},
    # It sends no request. Backfills of any asset leave room for a webhook.
    pool=NAMES.pool,
    metadata=table_metadata("route_analyses", lineage.of_figures()),
)
def route_analyses(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Length, times, climbing, speed, heart rate and power of each activity that has samples."""

    def analyse(span: Span) -> tuple[SpanResult, dict[str, Any]]:
        result = analyse_span(warehouse.engine, span)
        return result, month_pictures(warehouse.engine, span) if result.stored else {}

    with working_on_months(context, warehouse.engine, ImportStep.FIGURES) as months:
        for _, cells in spans_by_athlete(context.partition_keys):
            for key, (result, pictures) in months.each(cells, analyse):
                months.log_result(key, result, NO_REQUESTS | pictures)
    return dg.MaterializeResult()
