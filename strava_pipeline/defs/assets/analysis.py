"""Figures computed from stored samples, without a request."""

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.assets.activities import YEARLY, activity_streams
from strava_pipeline.defs.assets.month_pictures import month_pictures
from strava_pipeline.defs.partitions import grid_partitions, spans_by_athlete
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import NO_REQUESTS, backfilled_asset, log_month, table_metadata, translate_faults
from strava_pipeline.sync.backfill import analyse_span


@backfilled_asset(
    YEARLY,
    partitions_def=grid_partitions,
    group_name="analysis",
    deps=[activity_streams],
    kinds={"postgres"},
    metadata=table_metadata("route_analyses", lineage.of_figures()),
)
def route_analyses(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Length, times, climbing, speed, heart rate and power of each activity that has samples."""
    with translate_faults(context.retry_number) as subject:
        for _, cells in spans_by_athlete(context.partition_keys):
            for span, key in cells.items():
                subject.at_spans(span)
                result = analyse_span(warehouse.engine, span)
                pictures = month_pictures(warehouse.engine, span) if result.stored else {}
                log_month(context, key, result, NO_REQUESTS | pictures)
    return dg.MaterializeResult()
